package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) releaseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "release SOURCE|USER [--reason TEXT]",
		Short: "Lift what a rule decided",
		Long: `Lift what rules decided about a source, a prefix or a user, and let their counts
start anew. If it goes on, it is flagged again; to keep it from that, pin it to
allow. Pins stay: weir unpin takes those back.`,
		Example: `  weir release 203.0.113.9
  weir release bob@example.org`,
		Args:              oneTarget,
		ValidArgsFunction: a.completeTargets(false, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := a.target(cmd, args[0])
			if err != nil {
				return err
			}
			client, err := a.client(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			result, err := client.Release(cmd.Context(), target, reason)
			if errors.Is(err, control.ErrNotFound) {
				return a.notReleased(cmd, client, target)
			}
			if err != nil {
				return err
			}
			for _, r := range result.Released {
				fmt.Fprintf(a.stdout, "%s is released: %s by rule %s is lifted\n", printable(r.Target()), r.ActionText(), printable(r.Rule))
			}
			for _, r := range result.Standing {
				fmt.Fprintf(a.stdout, "still standing: %s (undo it with %s)\n", standingWords(&r), undo(&r))
			}
			return nil
		},
	}
	mustReason(cmd, &reason)
	return cmd
}

// target checks what the operator named and tells if more is meant by it.
func (a *app) target(cmd *cobra.Command, named string) (string, error) {
	t, err := control.ParseTarget(named)
	if err != nil {
		return "", usage(cmd, err)
	}
	if t.User == "" {
		a.sayJudged(named, t.Prefix)
	}
	return t.String(), nil
}

// notReleased says that no rule decided about target, and what else concerns
// it, if anything does.
func (a *app) notReleased(cmd *cobra.Command, client *control.Client, target string) error {
	hint := ""
	if e, err := client.Explain(cmd.Context(), target); err == nil && len(e.Decisions) > 0 {
		r := &e.Decisions[0].Row
		hint = fmt.Sprintf("; what concerns it is %s (undo it with %s)", standingWords(r), undo(r))
	}
	return nothingf("no rule decided about %s%s", printable(target), hint)
}

// standingWords names a decision in one phrase.
func standingWords(r *control.Row) string {
	if r.Pinned {
		return fmt.Sprintf("the pin of %s to %s", printable(r.Target()), r.ActionText())
	}
	if r.Listed {
		return fmt.Sprintf("%s of %s by the list %s", r.ActionText(), printable(r.Target()), printable(r.Rule))
	}
	return fmt.Sprintf("%s of %s by rule %s", r.ActionText(), printable(r.Target()), printable(r.Rule))
}

// undo is what lifts r.
func undo(r *control.Row) string {
	switch {
	case r.Pinned && r.User != "":
		return "weir user reset " + printable(r.User)
	case r.Pinned:
		return "weir unpin " + printable(r.Target())
	case r.Listed:
		return "take it out of the list: " + printable(r.Reason)
	}
	return "weir release " + printable(r.Target())
}
