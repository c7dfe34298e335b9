package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/userspace/agent"
)

func (a *app) detachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "detach",
		Short: "Take out of the kernel what a stopped agent has left in force",
		Long: `Take program, tables and pins out of the kernel, where no agent runs: what it
enforced would go on without it, each entry until its time has come. Decisions and
pins are kept, and the next agent enforces them again (mode enforce).

Packages do this when they are removed. While an agent runs, set mode = "observe"
instead, or say weir panic.`,
		Example: `  systemctl stop weir && weir detach`,
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			found, err := agent.Detach(a.placesOf(), newLogger(a.stderr, false))
			if err != nil {
				return err
			}
			said := "nothing of weir was in the kernel"
			if found {
				said = "weir is out of the kernel: everything passes"
			}
			_, err = fmt.Fprintln(a.stdout, said)
			return err
		},
	}
}
