package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the agent is and what it sees",
		Long: `Show the agent's mode, the interfaces and how it is attached to each, what the
kernel does with packets, how full the table is, whether the kernel holds what
was decided, and the last errors. For each log: how far it is read, what was lost
of it and why, and the lines that name an address and were not understood; and
which patterns the others fit.`,
		Example: `  weir status
  weir status -o json | jq '.intakes[].lag_seconds'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		st, err := client.Status(cmd.Context())
		if err != nil {
			return err
		}
		return show(cmd, a.stdout, output, st, a.tellStatus)
	}
	return cmd
}

// tellStatus writes st in columns: what, and how it is.
func (a *app) tellStatus(st *control.Status) error {
	b, now := &blocks{out: a.stdout}, a.now()
	b.linef("weir %s, mode %s, up %s, pid %d", printable(st.Version), st.Mode, span(time.Duration(st.Uptime*float64(time.Second))), st.PID)
	tellHold(b, now, st)
	b.linef("")
	b.table(0, func(b *blocks) {
		b.linef("ports\t%s", strings.Trim(fmt.Sprint(st.Ports), "[]"))
		for i := range st.Interfaces {
			b.linef("interface\t%s: %s", printable(st.Interfaces[i].Name), attachWords(&st.Interfaces[i]))
		}
		switch {
		case len(st.Interfaces) > 0:
		case st.Mode == "observe":
			b.linef("interface\tnone, as weir only observes")
		default:
			b.linef("interface\tNONE: nothing is limited or dropped")
		}
		if c := st.Ceiling; c != nil {
			b.linef("ceiling\t%s for every source, on %s", control.LimitText(c.Rate, c.Burst, 0), strings.Trim(fmt.Sprint(c.Ports), "[]"))
		}
		b.linef("decisions\t%s", decisionWords(&st.Decisions))
		b.linef("table\t%s", tableWords(&st.Table))
		if st.ReadBack != nil {
			b.linef("read back\t%s", readBackWords(now, st.ReadBack))
		}
		b.linef("store\t%s", storeWords(now, &st.Store))
		for i := range st.Intakes {
			tellIntake(b, now, &st.Intakes[i])
		}
		if len(st.Intakes) == 0 {
			b.linef("intake\tNONE: nothing is read, so no rule decides; add an [[intake]] to the configuration")
		}
		if st.PostfixPolicy != nil {
			tellPolicy(b, st.PostfixPolicy)
		}
		for _, n := range st.Notes {
			b.linef("note\t%s", printable(n))
		}
	})
	if len(st.Counters) > 0 {
		b.linef("")
		b.table(tabwriter.AlignRight, func(b *blocks) {
			b.linef("packets\ttotal\ta second\t")
			for _, c := range st.Counters {
				b.linef("%s\t%s\t%s\t", printable(c.Name), count(c.Packets), rate(c.Rate))
			}
		})
	}
	if len(st.Patterns) > 0 {
		b.linef("")
		b.table(tabwriter.AlignRight, func(b *blocks) {
			b.linef("lines understood as\ttotal\t")
			for _, p := range st.Patterns {
				b.linef("%s\t%s\t", printable(p.Name), count(p.Lines))
			}
		})
	}
	if len(st.Errors) > 0 {
		b.linef("\nlast errors")
	}
	b.table(0, func(b *blocks) {
		for _, e := range st.Errors {
			times := ""
			if e.Count > 1 {
				times = fmt.Sprintf(" (%s times)", count(e.Count))
			}
			b.linef("  %s\t%s%s", ago(now, e.Time), printable(e.Text), times)
		}
	})
	return b.err
}

// tellHold says loudly what keeps what is configured from taking effect.
func tellHold(b *blocks, now time.Time, st *control.Status) {
	if p := st.Panic; p != nil {
		words := "PANIC since " + stamp(now, p.Since)
		if p.By != "" {
			words += ", by " + printable(p.By)
		}
		if p.Reason != "" {
			words += ": " + printable(p.Reason)
		}
		b.linef("%s", words)
		b.linef("EVERYTHING PASSES until weir panic --lift")
	}
	switch c := st.Confirm; {
	case c == nil:
	case c.Reverted:
		b.linef("NOT CONFIRMED by %s: nothing is enforced since (weir confirm --again)", stamp(now, c.Until))
	case st.Mode == "enforce":
		b.linef("NOT CONFIRMED yet: what is enforced ends %s, unless you say weir confirm", stamp(now, c.Until))
	}
}

func attachWords(i *control.Interface) string {
	words := "attached, " + i.Mode
	switch i.Mode {
	case "native", "generic":
		words += " XDP"
	case "tcx":
		words = "attached, TCX"
	case "none":
		words = "NOT ATTACHED"
	}
	if i.Reason != "" {
		words += " (" + printable(i.Reason) + ")"
	}
	return words
}

func decisionWords(d *control.Decisions) string {
	var actions []string
	for action, n := range d.ByAction {
		actions = append(actions, fmt.Sprintf("%s %s", count(n), action))
	}
	slices.Sort(actions)
	words := count(d.Total)
	if len(actions) > 0 {
		words += ": " + strings.Join(actions, ", ")
	}
	words += fmt.Sprintf("; %s pinned, %s about users", count(d.Pinned), count(d.Users))
	if d.Suspended > 0 {
		words += fmt.Sprintf(", %s overridden", count(d.Suspended))
	}
	return words
}

func tableWords(t *control.Table) string {
	if t.Capacity == 0 {
		return "not loaded"
	}
	words := fmt.Sprintf("%s of %s entries (%s)", count(t.Fullest), count(t.Capacity), percent(t.Fullest, t.Capacity))
	if t.Used > t.Fullest {
		words += fmt.Sprintf(" in the fullest of its four parts, %s in all", count(t.Used))
	}
	if t.Displaced+t.Refused > 0 {
		words += fmt.Sprintf("; it was FULL: %s found no room, %s that ended first made room", count(t.Refused), count(t.Displaced))
	}
	return words
}

func readBackWords(now time.Time, r *control.ReadBack) string {
	if r.Last.IsZero() {
		return "not yet"
	}
	words := ago(now, r.Last) + ", the kernel holds what was decided"
	if r.Standing != "" {
		words = ago(now, r.Last) + ", NOT WHAT WAS DECIDED: " + printable(r.Standing)
	}
	if r.Found != nil {
		words += fmt.Sprintf("; %s since the start, %s put right, the last %s: %s",
			plural(r.Differences, "difference"), count(r.Repaired), ago(now, *r.Found), printable(r.Difference))
	}
	return words
}

func storeWords(now time.Time, s *control.Store) string {
	words := fmt.Sprintf("%s, %s, ", printable(s.Path), size(s.Bytes))
	if s.Checkpoint == nil {
		words += "no checkpoint yet"
	} else {
		words += "checkpoint " + ago(now, *s.Checkpoint)
	}
	if s.Error != "" {
		words += "; FAILING: " + printable(s.Error)
	}
	return words
}

// tellIntake writes how far one input is read.
func tellIntake(b *blocks, now time.Time, in *control.Intake) {
	lost := "nothing lost"
	if in.Lost > 0 {
		lost = strings.ToUpper(plural(in.Lost, "line")) + " LOST"
	}
	b.linef("intake\t%s: %s, %s a second, %s; lag %s, %s", printable(in.Name), plural(in.Lines, "line"), rate(in.Rate),
		plural(in.Events, "event"), seconds(in.Lag), lost)
	if in.Found != "" {
		b.linef("\tfound for %s", printable(in.Found))
	}
	for _, l := range in.Losses {
		b.linef("\tlost %s, last %s: %s", count(l.Count), ago(now, l.Last), printable(l.Reason))
	}
	if in.Behind > 0 {
		b.linef("\t%s written and not read yet", size(in.Behind))
	}
	if in.Cut > 0 {
		b.linef("\t%s cut, being too long", plural(in.Cut, "line"))
	}
	if in.Ignored > 0 {
		b.linef("\t%s ignored: of users' sessions or of other hosts", plural(in.Ignored, "line"))
	}
	if in.Refused > 0 {
		b.linef("\trefused %s by senders that may not send", plural(in.Refused, "attempt"))
	}
	if in.NotUnderstood > 0 {
		b.linef("\t%s with an address not understood, the last:", plural(in.NotUnderstood, "line"))
		b.linef("\t  %s", printable(in.Sample))
	}
	if in.Error != "" {
		b.linef("\tFAILING: %s", printable(in.Error))
	}
}
