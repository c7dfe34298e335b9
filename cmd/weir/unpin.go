package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) unpinCommand() *cobra.Command {
	var from, reason string
	cmd := &cobra.Command{
		Use:   "unpin {SOURCE... | --from FILE} [--reason TEXT]",
		Short: "Take pins back",
		Long: `Take the pins of these sources or prefixes back. What rules decided about them
holds again; weir release lifts that.

A list is written as for weir pin, so the list that was pinned can be unpinned.`,
		Example: `  weir unpin 203.0.113.9
  weir unpin --from blocked.txt`,
		ValidArgsFunction: a.completeTargets(true, true),
	}
	cmd.Flags().StringVar(&from, "from", "", "read the prefixes from this `file`; - is standard input")
	mustReason(cmd, &reason)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := a.readList(cmd, args, from)
		if err != nil {
			return err
		}
		done, err := a.bulk(cmd, list, "unpin", func(c *control.Client, progress func(int)) (control.Progress, error) {
			return c.Unpin(cmd.Context(), list, reason, progress)
		})
		if err != nil {
			return err
		}
		return a.sayUnpinned(list, &done)
	}
	return cmd
}

// sayUnpinned tells what an unpin did. That nothing was pinned is an error.
func (a *app) sayUnpinned(list *control.List, done *control.Progress) error {
	switch {
	case list.Count() == 1 && done.Done == 1:
		_, err := fmt.Fprintf(a.stdout, "%s is no longer pinned\n", list)
		return err
	case list.Count() == 1:
		return nothingf("%s is not pinned (weir explain %[1]s tells what concerns it)", list)
	}
	if _, err := fmt.Fprintf(a.stdout, "unpinned: %s of %s prefixes\n", count(done.Done), count(list.Count())); err != nil || done.Missing == 0 {
		return err
	}
	missing := done.Sample
	if more := done.Missing - len(missing); more > 0 {
		missing = append(missing, "and "+count(more)+" more")
	}
	return nothingf("not pinned: %s", strings.Join(missing, ", "))
}
