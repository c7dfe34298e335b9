package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) unpinCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "unpin {SOURCE... | --from FILE}",
		Short: "Take pins back",
		Long: `Take the pins of these sources or prefixes back. What rules decided about them
holds again; weir release lifts that.

A list is written as for weir pin, so the list that was pinned can be unpinned.`,
		Example: `  weir unpin 203.0.113.9
  weir unpin --from blocked.txt`,
		ValidArgsFunction: a.completeTargets(true, true),
	}
	cmd.Flags().StringVar(&from, "from", "", "read the prefixes from this `file`; - is standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := a.openPrefixes(cmd, args, from)
		if err != nil {
			return err
		}
		defer list.close()
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		done, err := a.bulk(cmd, list, "unpin", func(progress func(int)) (control.Progress, error) {
			return client.Unpin(cmd.Context(), list, progress)
		})
		if err != nil {
			return err
		}
		return a.sayUnpinned(list, &done)
	}
	return cmd
}

// sayUnpinned tells what an unpin did. That nothing was pinned is an error.
func (a *app) sayUnpinned(list *prefixList, done *control.Progress) error {
	switch {
	case list.count == 1 && done.Done == 1:
		_, err := fmt.Fprintf(a.stdout, "%s is no longer pinned\n", list)
		return err
	case list.count == 1:
		return fmt.Errorf("%s is not pinned (weir explain %[1]s tells what concerns it): %w", list, control.ErrNotFound)
	}
	if _, err := fmt.Fprintf(a.stdout, "%s unpinned\n", plural(done.Done, "prefix")); err != nil || done.Missing == 0 {
		return err
	}
	return fmt.Errorf("%s not pinned, such as %s: %w", count(done.Missing), done.Sample[0], control.ErrNotFound)
}
