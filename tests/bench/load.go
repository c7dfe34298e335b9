package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/tests/bench/live"
	"weir/tests/bench/paced"
	"weir/tests/document"
	"weir/tests/lab"
)

// The marks between which a page has the table.
const (
	loadBegin = "<!-- bench-load writes what follows -->\n"
	loadEnd   = "<!-- bench-load wrote what stands above -->\n"
)

// loadOptions say how much happens on a host.
type loadOptions struct {
	weir    string
	rate    int64
	sources int
	lasts   time.Duration
	peak    int64
	peaks   time.Duration
	update  string
}

// runLoad measures what an agent does under a large site's load: how long it
// takes from a line to the kernel's refusal, how much memory it takes, and
// whether anything was lost.
func runLoad(ctx context.Context, args []string) (err error) {
	var o loadOptions
	flags := flag.NewFlagSet("bench load", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`")
	flags.Int64Var(&o.rate, "rate", 138_000, "`events` a second")
	flags.IntVar(&o.sources, "sources", 1_000_000, "how many `sources` they are of")
	flags.DurationVar(&o.lasts, "lasts", 30*time.Minute, "for how `long`")
	flags.Int64Var(&o.peak, "peak", 10, "how many `times` as many afterwards")
	flags.DurationVar(&o.peaks, "peaks", time.Minute, "for how `long`")
	flags.StringVar(&o.update, "update", "", "write the table to `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.rate < 1 || o.sources < loadUsers+loadBots+loadHarvest || o.lasts <= 0 {
		return fmt.Errorf("nothing to measure: there must be %d sources at least", loadUsers+loadBots+loadHarvest)
	}
	l, err := lab.New(ctx, lab.Options{Bare: true})
	if err != nil {
		return fmt.Errorf("make a mail host (as root?): %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	w, err := l.Weir(absolute(o.weir), "enforce", "protect = []\n[limits]\nentries = 1048576\n[ceiling]\nrate = \"off\"\n")
	if err != nil {
		return err
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	text, err := (&load{loadOptions: o, lab: l, weir: w}).run(ctx)
	if err != nil {
		return errors.Join(err, w.Stop())
	}
	fmt.Print(text)
	if o.update != "" {
		err = document.Replace(o.update, loadBegin, loadEnd, text)
	}
	return errors.Join(err, w.Stop())
}

// load is one under way.
type load struct {
	loadOptions
	lab    *lab.Lab
	weir   *lab.Weir
	writer loadWriter
	probed int // lines of probes
	source int // the next that is probed, one that has no neighbours
}

func (l *load) run(ctx context.Context) (_ string, err error) {
	l.writer.path, l.writer.sources = l.lab.MailLog(), l.sources
	l.writer.rate.Store(l.rate)
	l.writer.read.Store(math.MaxUint64) // what stays is more than it is behind
	l.source = l.sources
	writing, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	var writeErr error
	group.Go(func() { writeErr = l.writer.run(writing) })
	defer func() { stop(); group.Wait(); err = errors.Join(err, writeErr) }()

	var out strings.Builder
	fmt.Fprintf(&out, "| %s events a second of %s sources | lag median | p99 | max | memory | flagged | behind |\n| --- | --- | --- | --- | --- | --- | --- |\n", thousands(l.rate), thousands(int64(l.sources)))
	var all []time.Duration
	for begun := time.Now(); time.Since(begun) < l.lasts; {
		part := min(l.lasts/6, 5*time.Minute)
		times, err := l.probe(ctx, min(part, l.lasts-time.Since(begun)))
		if err != nil {
			return "", err
		}
		all = append(all, times...)
		if err := l.row(ctx, &out, fmt.Sprintf("minute %.1f", time.Since(begun).Minutes()), times); err != nil {
			return "", err
		}
	}
	if err := l.row(ctx, &out, fmt.Sprintf("all %s", l.lasts), all); err != nil {
		return "", err
	}
	if _, err := l.look(ctx); err != nil {
		return "", err
	}
	l.writer.rate.Store(l.rate * l.peak)
	for begun := time.Now(); time.Since(begun) < l.peaks; {
		select {
		case <-time.After(min(time.Second, l.peaks)):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if _, err := l.look(ctx); err != nil {
			return "", err
		}
	}
	if err := l.row(ctx, &out, fmt.Sprintf("%d times as many for %s", l.peak, l.peaks), nil); err != nil {
		return "", err
	}
	l.writer.rate.Store(l.rate)
	begun := time.Now()
	if err := l.caughtUp(ctx); err != nil {
		return "", err
	}
	after := time.Since(begun)
	l.writer.read.Store(math.MaxUint64)
	times, err := l.probe(ctx, min(l.lasts, time.Minute))
	if err != nil {
		return "", err
	}
	if err := l.row(ctx, &out, fmt.Sprintf("%.0f s later", (after+time.Minute).Seconds()), times); err != nil {
		return "", err
	}
	l.writer.rate.Store(0)
	if err := l.caughtUp(ctx); err != nil {
		return "", err
	}
	return out.String() + l.sum(ctx, after), nil
}

// probe has fresh sources guess, until a time has passed, and returns how long
// each was not refused.
func (l *load) probe(ctx context.Context, lasts time.Duration) (times []time.Duration, err error) {
	k, err := l.lab.Knocker(587)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	for begun := time.Now(); time.Since(begun) < lasts; l.source++ {
		select { // so that no two are at the same place of anything that comes at regular times
		case <-time.After(time.Duration(100+rand.IntN(200)) * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		source := live.Source4(uint32(l.source))
		lines := probeLines(source.String())
		took, err := k.Refusal(ctx, source, 10*time.Second, func() error {
			f, err := os.OpenFile(l.lab.MailLog(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
			if err != nil {
				return err
			}
			_, err = f.WriteString(lines)
			l.probed += strings.Count(lines, "\n")
			return errors.Join(err, f.Close())
		})
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	slices.Sort(times)
	return times, nil
}

// row writes what there is to see now.
func (l *load) row(ctx context.Context, out *strings.Builder, what string, times []time.Duration) error {
	s, err := l.weir.Status(ctx)
	if err != nil {
		return err
	}
	slices.Sort(times)
	lag := "| | | "
	if len(times) > 0 {
		lag = fmt.Sprintf("%.2f ms | %.2f ms | %.1f ms", ms(paced.At(times, 0.5)), ms(paced.At(times, 0.99)), ms(paced.At(times, 1)))
	}
	line := fmt.Sprintf("| %s | %s | %d MB | %s | %s lines |\n", what, lag, resident(l.weir.PID())>>20,
		thousands(int64(s.Table.Used)), thousands(max(int64(l.writer.written.Load())+int64(l.probed)-int64(read(s)), 0)))
	say("%s", strings.TrimSpace(line))
	out.WriteString(line)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func read(s *lab.Status) (lines uint64) {
	for _, in := range s.Intakes {
		lines += in.Lines
	}
	return lines
}

// look asks the agent how it is, and has the writer keep what it has not read.
func (l *load) look(ctx context.Context) (*lab.Status, error) {
	s, err := l.weir.Status(ctx)
	if err == nil {
		l.writer.read.Store(read(s) - min(uint64(l.probed), read(s)))
	}
	return s, err
}

// caughtUp waits until the agent is behind by less than a tenth of a second.
func (l *load) caughtUp(ctx context.Context) error {
	for end := time.Now().Add(20 * time.Minute); time.Now().Before(end); {
		before := l.writer.written.Load() + uint64(l.probed)
		s, err := l.look(ctx)
		if err != nil {
			return err
		}
		if read(s)+uint64(l.writer.rate.Load())/10 >= before {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("the agent does not catch up")
}

// sum tells whether all was read and understood.
func (l *load) sum(ctx context.Context, after time.Duration) string {
	s, err := l.weir.Status(ctx)
	if err != nil {
		return err.Error() + "\n"
	}
	var events, lost, strange uint64
	for _, in := range s.Intakes {
		events, lost, strange = events+in.Events, lost+in.Lost, strange+in.NotUnderstood
	}
	written := l.writer.written.Load() + uint64(l.probed)
	var faults []string
	for _, e := range s.Errors {
		faults = append(faults, e.Text)
	}
	return fmt.Sprintf("\nAfter the peak the agent had caught up within %.0f s. Lines written %s, read %s, lost %s, not understood %s; events %s. The writer was late by at most %.1f ms.%s\n",
		after.Seconds(), thousands(int64(written)), thousands(int64(read(s))), thousands(int64(lost)), thousands(int64(strange)), thousands(int64(events)),
		float64(l.writer.late.Load())/1e6, strings.Join(append([]string{""}, faults...), "\n"))
}
