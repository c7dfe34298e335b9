package main

import "github.com/spf13/cobra"

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the agent",
		Long: `Run the agent in the foreground until it is told to stop: read the logs, decide,
and (mode enforce) have the kernel carry it out. What it decided stays in force
while it is down. SIGHUP has it read the configuration again; a file with errors
is refused and the old one holds.`,
		Example: `  weir run
  weir run --config ./weir.toml`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), a.configPath)
		},
	}
}
