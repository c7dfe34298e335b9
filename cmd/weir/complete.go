package main

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

// Bounds of what completion may cost: it runs while somebody types.
const (
	completionTime = 700 * time.Millisecond
	completionRows = 500
)

// completeTargets completes what is flagged (pinned false) or pinned (true);
// several of them if many. Without an agent it is silent.
func (a *app) completeTargets(pinned, many bool) cobra.CompletionFunc {
	return a.complete(many, &pinned)
}

// completeKnown completes whatever a decision stands on.
func (a *app) completeKnown(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.complete(false, nil)(cmd, args, begun)
}

func (a *app) complete(many bool, pinned *bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var found []cobra.Completion
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for r := range a.rowsNow(cmd, control.Filter{Pinned: pinned, Begins: begun}) {
			name := r.Target()
			if printable(name) == name && !slices.Contains(args, name) {
				found = append(found, cobra.CompletionWithDesc(name, r.ActionText()+" "+ruleWords(&r)))
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRules completes the names of rules that decided something.
func (a *app) completeRules(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	automatic := false
	for r := range a.rowsNow(cmd, control.Filter{Pinned: &automatic}) {
		if !slices.Contains(found, r.Rule) {
			found = append(found, r.Rule)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// rowsNow yields a bounded number of rows for a bounded time, and none when
// anything goes wrong.
func (a *app) rowsNow(cmd *cobra.Command, f control.Filter) iter.Seq[control.Row] {
	return func(yield func(control.Row) bool) {
		client, err := a.client(cmd)
		if err != nil {
			return
		}
		defer client.Close()
		parent := cmd.Context()
		if parent == nil { // cobra gives the command that is completed none
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completionTime)
		defer cancel()
		n := 0
		for r, err := range client.Decisions(ctx, f) {
			if n++; err != nil || n > completionRows || !yield(r) {
				return
			}
		}
	}
}
