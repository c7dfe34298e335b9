package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"weir/userspace/agent"
)

func (a *app) replayCommand() *cobra.Command {
	var output string
	var events, compare bool
	cmd := &cobra.Command{
		Use:   "replay LOG...",
		Short: "Show what would have been decided over old logs",
		Long: `Read old logs, oldest first, and show what would have been decided, by the time
in the logs. Nothing is touched and no agent is needed. A log may be compressed
(.gz); - is standard input. The rules are those of the configuration, or the
built-in ones if there is none; --config tries others.

jsonl writes one object a line: time, action, source (a prefix) or user, until,
rate (a minute) and burst for limits, rule, reason and evidence. With --events, events
are written too, one object a line: time, kind, source, user, service, server,
recipients and line.

--compare names two configurations before the logs, and shows what the one would
have done and the other not: sources, users, their first decisions.`,
		Example: `  weir replay /var/log/mail.log.1 /var/log/mail.log
  weir replay --config trial.toml --output jsonl old.log.gz
  weir replay --compare /etc/weir/weir.toml trial.toml /var/log/mail.log
  journalctl -o short-iso -u postfix | weir replay --output none --events -`,
		Args: someLogs,
	}
	f := cmd.Flags()
	f.BoolVar(&events, "events", false, "write what was understood from the logs, as JSON lines")
	f.BoolVar(&compare, "compare", false, "compare the decisions of two configurations, which are named before the logs")
	forms := []string{agent.OutputText, agent.OutputJSONL, agent.OutputNone}
	outputFlag(cmd, &output, forms...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(forms, output) {
			return usagef(cmd, "unknown output %q: want text, jsonl or none", output)
		}
		r := agent.ReplayOptions{Logs: args, Stdin: a.stdin, Output: output, Events: events}
		switch {
		case compare && len(args) < 3:
			return usagef(cmd, "--compare wants two configurations and then logs, such as: weir replay --compare a.toml b.toml mail.log")
		case compare && (events || output == agent.OutputNone):
			return usagef(cmd, "--compare writes text or jsonl, and no events")
		case compare:
			r.Compare, r.Logs = [2]string(args[:2]), args[2:]
		}
		if cmd.Flags().Changed("config") || exists(a.configPath) {
			r.ConfigPath = a.configPath
		}
		out := a.stdout
		if a.isTerminal(a.stderr) {
			bar := a.bar(-1, "replay", progressbar.OptionShowBytes(true))
			out = &besideBar{a.stdout, bar}
			r.Progress = func(read, total int64) {
				if total > 0 {
					bar.ChangeMax64(total)
				}
				_ = bar.Set64(read) // a bar that cannot be drawn is no reason to stop
			}
			defer func() { _ = bar.Finish() }()
		}
		return a.replay(cmd.Context(), r, out)
	}
	return cmd
}

// exists reports whether there is a file at path. One that cannot be looked
// at is there: opening it will tell what is wrong.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
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
