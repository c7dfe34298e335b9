package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/agent"
)

func (a *app) runCommand() *cobra.Command {
	var confirm time.Duration
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent",
		Long: `Run the agent in the foreground until it is told to stop: read the logs, decide,
and (mode enforce) have the kernel carry it out. What it decided stays in force
while it is down. SIGHUP has it read the configuration again; a file with errors
is refused and the old one holds.

With --confirm, mode "enforce" ends by itself unless weir confirm comes in time:
for the first time on a host that you reach over the network.`,
		Example: `  weir run
  weir run --config ./weir.toml
  weir run --confirm 10m`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A runtime that gives up, for want of memory or for a mistake of ours,
			// exits with 2 by itself, which would tell systemd that starting again
			// is of no use. So it ends by a signal.
			debug.SetTraceback("crash")
			if confirm < 0 {
				return usagef(cmd, "bad --confirm %v: want a time such as 10m", confirm)
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			o := agent.DefaultOptions()
			o.ConfigPath, o.Version, o.Now, o.Reload, o.Confirm = a.configPath, a.version, a.now, reload, confirm
			log := agent.NewBacklog(a.stderr)
			defer log.Close()
			o.Logger = newLogger(log, os.Getenv("JOURNAL_STREAM") != "")
			return a.run(cmd.Context(), o)
		},
	}
	cmd.Flags().DurationVar(&confirm, "confirm", 0, `with mode "enforce": observe again after this time, such as 10m, unless weir confirm comes`)
	mustComplete(cmd, "confirm", cobra.NoFileCompletions)
	return cmd
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
