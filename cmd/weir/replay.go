package main

import (
	"io"
	"slices"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// replayRequest is what a replay is asked for.
type replayRequest struct {
	config   string                  // path; empty: the built-in rules
	logs     []string                // paths; - is standard input
	stdin    io.Reader               //
	output   string                  // text, jsonl or none
	events   bool                    // events too, or alone with none
	out      io.Writer               //
	progress func(read, total int64) // bytes; total is 0 where it is not known
}

func (a *app) replayCommand() *cobra.Command {
	var output string
	var events bool
	cmd := &cobra.Command{
		Use:   "replay LOG...",
		Short: "Show what would have been decided over old logs",
		Long: `Read old logs, oldest first, and show what would have been decided, by the time
in the logs. Nothing is touched and no agent is needed. A log may be compressed
(.gz); - is standard input. --config names other rules than those in use.

jsonl writes one object a line: time, action, source (a prefix) or user, until,
rate (a minute, for limits), rule, reason and evidence. With --events, events
are written too, one object a line: time, kind, source, user, service, server,
recipients and line.`,
		Example: `  weir replay /var/log/mail.log.1 /var/log/mail.log
  weir replay --config trial.toml --output jsonl old.log.gz
  journalctl -o short-iso -u postfix | weir replay --output none --events -`,
		Args: cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	f.BoolVar(&events, "events", false, "write what was understood from the logs, as JSON lines")
	outputFlag(cmd, &output, "text", "jsonl", "none")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains([]string{"text", "jsonl", "none"}, output) {
			return usagef(cmd, "unknown output %q: want text, jsonl or none", output)
		}
		r := replayRequest{logs: args, stdin: a.stdin, output: output, events: events, out: a.stdout, progress: func(int64, int64) {}}
		r.config = a.configPath
		if a.isTerminal(a.stderr) {
			bar := a.bar(-1, "replay", progressbar.OptionShowBytes(true))
			r.out = &besideBar{a.stdout, bar}
			r.progress = func(read, total int64) {
				if total > 0 {
					bar.ChangeMax64(total)
				}
				_ = bar.Set64(read) // a bar that cannot be drawn is no reason to stop
			}
			defer func() { _ = bar.Finish() }()
		}
		return a.replay(cmd.Context(), r)
	}
	return cmd
}

// besideBar writes where a bar may be drawn: the bar goes away first, and
// comes back by itself.
type besideBar struct {
	io.Writer
	bar *progressbar.ProgressBar
}

func (b *besideBar) Write(p []byte) (int, error) {
	_ = b.bar.Clear()
	return b.Writer.Write(p)
}
