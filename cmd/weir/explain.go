package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) explainCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "explain SOURCE|USER",
		Short: "Tell why a source or a user is flagged, and how to undo it",
		Long: `Tell everything that concerns a source, a prefix or a user: what happens to it
and why, the evidence line by line, when it ends, what the kernel has dropped,
whether it is really in force, and how to undo it.`,
		Example: `  weir explain 203.0.113.9
  weir explain bob@example.org -o json`,
		Args:              oneTarget,
		ValidArgsFunction: a.completeKnown,
	}
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		target, err := a.target(cmd, args[0])
		if err != nil {
			return err
		}
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		e, err := client.Explain(cmd.Context(), target)
		if errors.Is(err, control.ErrNotFound) {
			if isUser(target) {
				return nothingf("nothing concerns %s: no decision is on the user, and no source is flagged for what it did in its name", printable(target))
			}
			return nothingf("nothing concerns %s: it is let through", printable(target))
		}
		if err != nil {
			return err
		}
		return show(cmd, a.stdout, output, e, a.tell)
	}
	return cmd
}

// maxShown is how many decisions a story tells. A user in whose name a
// botnet sent has hundreds.
const maxShown = 10

// isUser reports whether target is a user's name, and not a source or prefix.
func isUser(target string) bool {
	_, err := control.ParsePrefix(target)
	return err != nil
}

// tell writes the story of one target.
func (a *app) tell(e *control.Explanation) error {
	b := &blocks{out: a.stdout}
	b.linef("%s %s", printable(e.Target), a.verdictWords(e))
	b.field("why", "%s", printable(e.Why))
	for _, allow := range e.Allow {
		b.field("allow", "%s covers it: %s", allow.Prefix, printable(allow.Reason))
	}
	if e.Problem != "" {
		b.field("PROBLEM", "%s", printable(e.Problem))
	}
	if !isUser(e.Target) {
		a.tellKernel(b, e)
	}
	for i := range e.Decisions[:min(len(e.Decisions), maxShown)] {
		a.tellDecision(b, &e.Decisions[i], e.Target)
	}
	if more := len(e.Decisions) - maxShown; more > 0 {
		b.linef("\n%s not shown; -o json has all", plural(more, "more decision"))
	}
	a.tellUndo(b, e)
	return b.err
}

// verdictWords says what happens to the target, or would.
func (a *app) verdictWords(e *control.Explanation) string {
	done := map[string]string{
		"allow":  "always let through",
		"pass":   "let through",
		"limit":  "limited",
		"tarpit": "held in the tarpit",
		"drop":   "dropped",
		"defer":  "told to come back later",
		"guard":  "guarded: only sources it succeeded from before may log in",
		"quota":  "held to quotas of its own",
	}[e.Verdict]
	if done == "" {
		done = e.Verdict
	}
	if len(e.Decisions) > 0 && e.Verdict == "limit" {
		if limit := limitOf(&e.Decisions[0].Row); limit != "" {
			done += " to " + limit
		}
	}
	switch {
	case e.InForce, e.Verdict == "pass", e.Verdict == "allow":
		return "is " + done
	case e.Mode == "observe":
		return "would be " + done + ", but weir only observes (mode observe)"
	}
	return "should be " + done + ", but IS NOT"
}

func limitOf(r *control.Row) string { return control.LimitText(r.Rate, r.Burst, r.Bytes) }

// tellKernel writes what the verdict table holds for the target.
func (a *app) tellKernel(b *blocks, e *control.Explanation) {
	if len(e.Kernel) == 0 {
		b.field("kernel", "holds no entry for it")
	}
	for _, k := range e.Kernel {
		words := k.Action
		if limit := control.LimitText(k.Rate, k.Burst, k.BytesPerSecond); limit != "" {
			words += " " + limit
		}
		ends := "never ends"
		if k.Expires != nil {
			ends = "ends " + ahead(a.now(), k.Expires)
		}
		b.field("kernel", "holds %s: %s, %s; %s seen, %s dropped", k.Prefix, words, ends,
			plural(k.Attempts, "connection attempt"), plural(k.Dropped, "packet"))
	}
}

// tellDecision writes one decision with its evidence.
func (a *app) tellDecision(b *blocks, j *control.Judgement, target string) {
	now := a.now()
	b.linef("")
	title := standingWords(&j.Row)
	title = strings.ToUpper(title[:1]) + title[1:]
	if j.OverriddenBy != "" {
		title += " (overridden by " + printable(j.OverriddenBy) + ")"
	}
	b.linef("%s", title)
	if j.Reason != "" {
		b.field("reason", "%s", printable(j.Reason))
	}
	since := fmt.Sprintf("%s, %s", ago(now, j.Since), stamp(now, j.Since))
	if j.By != "" {
		since += ", by " + printable(j.By)
	}
	if j.Offence > 0 {
		since += fmt.Sprintf(", offence %d", j.Offence)
	}
	b.field("since", "%s", since)
	switch {
	case j.Listed:
		b.field("ends", "when the list does not name it any more")
	case j.Until == nil:
		b.field("ends", "never; it stands until it is unpinned")
	default:
		b.field("ends", "%s, %s", ahead(now, j.Until), stamp(now, *j.Until))
	}
	if ev := j.Evidence; ev != nil {
		a.tellEvidence(b, ev, target)
	}
}

// tellEvidence writes what the rule counted, each observation with the
// record as it was written, if that is still known.
func (a *app) tellEvidence(b *blocks, ev *control.Evidence, target string) {
	words := plural(ev.Count, "observation")
	if ev.FirstLine > 0 {
		words += fmt.Sprintf(" in lines %d to %d", ev.FirstLine, ev.LastLine)
	}
	if n := len(ev.Sample); n > 0 && n < ev.Count {
		words += fmt.Sprintf("; %d of them", n)
	}
	b.field("evidence", "%s", words)
	for i := range ev.Sample {
		b.linef("    %s", a.observationWords(&ev.Sample[i], target))
		if text := ev.Sample[i].Text; text != "" {
			b.linef("      %s", printable(text))
		}
	}
}

// observationWords tells an observation without what the target says.
func (a *app) observationWords(o *control.Observation, target string) string {
	words := []string{o.Time.In(a.now().Location()).Format(time.DateTime), strings.ReplaceAll(o.Kind.String(), "_", " ")}
	if o.User != "" && o.User != target {
		words = append(words, "of "+printable(o.User))
	}
	if o.Source.IsValid() && o.Source.String() != target {
		words = append(words, "from "+o.Source.String())
	}
	if o.Recipients > 0 {
		words = append(words, "to "+plural(o.Recipients, "recipient"))
	}
	if via := strings.Trim(o.Server+" "+o.Service, " "); via != "" {
		words = append(words, "("+printable(via)+")")
	}
	return strings.Join(words, " ")
}

// tellUndo says what the operator can do about it.
func (a *app) tellUndo(b *blocks, e *control.Explanation) {
	if len(e.Decisions) == 0 {
		return
	}
	b.linef("")
	b.linef("To undo it")
	for i := range e.Decisions[:min(len(e.Decisions), maxShown)] {
		b.linef("  %s", undo(&e.Decisions[i].Row))
	}
	if first := &e.Decisions[0]; !isUser(e.Target) && !first.Pinned && e.Verdict != "allow" {
		b.linef("  weir pin %s --action allow    (and never flag it again)", e.Target)
	}
}
