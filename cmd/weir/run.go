package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weir/userspace/agent"
)

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
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			o := agent.DefaultOptions()
			o.ConfigPath, o.Version, o.Now, o.Reload = a.configPath, a.version, a.now, reload
			log := agent.NewBacklog(a.stderr)
			defer log.Close()
			o.Logger = newLogger(log, os.Getenv("JOURNAL_STREAM") != "")
			return a.run(cmd.Context(), o)
		},
	}
}

// newLogger writes to out. The journal knows the time already
// (systemd.exec(5), JOURNAL_STREAM).
func newLogger(out io.Writer, journal bool) *slog.Logger {
	o := &slog.HandlerOptions{}
	if journal {
		o.ReplaceAttr = func(groups []string, attr slog.Attr) slog.Attr {
			if attr.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return attr
		}
	}
	return slog.New(slog.NewTextHandler(out, o))
}
