package main

import (
	"fmt"
	"strings"
	"time"

	"weir/tests/scenarios"
)

// Marks between which update writes, and the plot's file beside the document.
const (
	begin    = "<!-- bench-correlation writes what follows -->\n"
	end      = "<!-- bench-correlation wrote what stands above -->\n"
	plotName = "correlation.svg"
)

// report is what all scenarios together have shown.
type report struct {
	parties []scenarios.Party
	results []result
	columns []scenarios.Column // weir, then the others
	closed  scenarios.Column
	limit   scenarios.Column
}

func newReport(o tableOptions, results []result, list []*peer) *report {
	r := &report{
		results: results,
		closed:  scenarios.Column{Name: "weir, closed loop", Brief: true},
		limit:   scenarios.Column{Name: "oracle", Brief: true},
	}
	weir := scenarios.Column{Name: "weir"}
	for _, result := range results {
		weir.Scores = append(weir.Scores, result.Open)
		r.closed.Scores = append(r.closed.Scores, result.Closed)
		r.limit.Scores = append(r.limit.Scores, result.limit)
	}
	for _, t := range results[0].Open.Tallies {
		r.parties = append(r.parties, t.Party)
	}
	r.columns = append(r.columns, weir)
	at := 0
	for _, p := range list {
		column := p.column
		if p.missing == "" {
			for _, result := range results {
				column.Scores = append(column.Scores, result.peers[at])
			}
			at++
		}
		r.columns = append(r.columns, column)
	}
	return r
}

// all are the columns of the tables.
func (r *report) all() []scenarios.Column {
	return append(append([]scenarios.Column{r.columns[0], r.closed}, r.columns[1:]...), r.limit)
}

// text is the report for a terminal.
func (r *report) text(seeds []uint64, each bool) string {
	var b strings.Builder
	for i, result := range r.results {
		o, s := result.Open.Options, result.Open
		worst := s.Worst()
		fmt.Fprintf(&b, "seed %d (%d days, %s, cold %t): %d lines, %d events, %d decisions in %.1f s; stopped %.1f %%, refused %.3f %%, worst %s %.1f %%\n",
			seeds[i], o.Days, o.Mix, o.Cold, result.Lines, result.Events, result.Told, result.took.Seconds(), 100*s.Stopped(), 100*s.Refused(), worst.Name, 100*worst.Share())
		b.WriteString(result.reasons.String())
		if each {
			fmt.Fprintf(&b, "\n%s\n", scenarios.Table(r.parties, []scenarios.Column{{Name: "open", Scores: []*scenarios.Score{s}}, {Name: "closed", Scores: []*scenarios.Score{result.Closed}}}))
		}
	}
	return b.String() + "\n" + scenarios.Table(r.parties, r.all())
}

// markdown is the report for the documentation.
func (r *report) markdown(seeds []uint64) string {
	var b strings.Builder
	var lines, events uint64
	items := 0
	for _, result := range r.results {
		lines, events = lines+result.Lines, events+result.Events
		for _, t := range result.Open.Tallies {
			items += t.Items
		}
	}
	fmt.Fprintf(&b, "%s; %d scenarios (seeds", time.Now().UTC().Format(time.DateOnly), len(seeds))
	for i, seed := range seeds {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %d", seed)
	}
	fmt.Fprintf(&b, "): %.1f million lines, %.1f million events, %.1f million items.\n\n", float64(lines)/1e6, float64(events)/1e6, float64(items)/1e6)
	b.WriteString(scenarios.Table(r.parties, r.all()))
	fmt.Fprintf(&b, "\n![What was stopped of each attack, and refused of each good party](%s)\n", plotName)
	return b.String()
}
