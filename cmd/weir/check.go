package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/agent"
	"weir/userspace/check"
	"weir/userspace/control"
)

// foundError says that something was found, and how bad it is.
type foundError struct{ report *check.Report }

func (e *foundError) Error() string { return "found " + countsOf(e.report) }

func (a *app) checkCommand() *cobra.Command {
	var output, least string
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Examine this host, and say what to do about what is found",
		Long: `Examine the configuration, the agent and its unit, the kernel, the interfaces,
the logs, the mail servers' own configuration, the clock, and what the rules
would have decided in the last day. Each finding has a severity, and a remedy:

  ok       as it should be
  note     worth to know; nothing has to be done
  warning  weir works, and not as well as it could, or not for long
  error    weir does not protect, or mail or people are in danger

Nothing is changed. No agent is needed, and no privilege: what could not be seen
is said, with how it can be; root sees all.

The exit code is 6 if a warning is the worst that was found, 7 if an error is,
and 0 otherwise.`,
		Example: `  weir check
  weir check --least warning
  weir check -o json | jq '.findings[] | select(.severity == "error")'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&least, "least", "ok", "show findings of this `severity` or worse: "+strings.Join(check.Severities(), ", "))
	f.DurationVar(&patience, "patience", agent.DefaultCheckOptions().Patience, "how long reading the logs of the last days may take")
	mustComplete(cmd, "least", cobra.FixedCompletions(check.Severities(), cobra.ShellCompDirectiveNoFileComp))
	mustComplete(cmd, "patience", cobra.NoFileCompletions)
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var from check.Severity
		if err := from.UnmarshalText([]byte(least)); err != nil {
			return usagef(cmd, "bad --least: %w", err)
		}
		if patience <= 0 {
			return usagef(cmd, "bad --patience %v: want a time such as 30s", patience)
		}
		if output != "text" && output != "json" {
			return usagef(cmd, "unknown output %q: want text or json", output)
		}
		report, err := a.examine(cmd, patience)
		if err != nil {
			return err
		}
		shown := *report
		shown.Findings = nil
		for _, one := range report.Findings {
			if one.Severity >= from {
				shown.Findings = append(shown.Findings, one)
			}
		}
		if err := show(cmd, a.stdout, output, &shown, a.tellReport); err != nil {
			return err
		}
		if report.Severity >= check.Warning {
			return &foundError{report}
		}
		return nil
	}
	return cmd
}

// examine lets a configuration with errors pass: telling them is what it is for.
func (a *app) examine(cmd *cobra.Command, patience time.Duration) (*check.Report, error) {
	o := agent.DefaultCheckOptions()
	o.ConfigPath, o.Version, o.Now, o.Patience = a.configPath, a.version, a.now, patience
	socket, err := socketOf(a.configPath, true)
	if err != nil {
		socket = control.DefaultSocket
	}
	o.Socket = socket
	return a.check(cmd.Context(), o)
}

// checker is agent.Check.
type checker = func(ctx context.Context, o agent.CheckOptions) (*check.Report, error)

// textWidth is that of what people read, in columns.
const textWidth = 100

// tellReport writes the findings by field.
func (a *app) tellReport(r *check.Report) error {
	b := &blocks{out: a.stdout}
	b.linef("weir %s on %s, %s", printable(r.Version), printable(r.Host), stamp(a.now(), r.Time))
	field := ""
	for i := range r.Findings {
		one := &r.Findings[i]
		if one.Field != field {
			field = one.Field
			b.linef("\n%s", field)
		}
		tellFinding(b, one)
	}
	b.linef("\n%s", countsOf(r))
	return b.err
}

// tellFinding writes its severity in a column of its own, so that the eye finds
// the bad ones.
func tellFinding(b *blocks, one *check.Finding) {
	const indent = "           " // below what was seen
	word := one.Severity.String()
	if one.Severity >= check.Warning {
		word = strings.ToUpper(word)
	}
	wrapped(b, fmt.Sprintf("  %-8s ", word), indent, printable(one.Subject)+": "+printable(one.Seen))
	for _, d := range one.Details {
		wrapped(b, indent+"  "+printable(d.Name)+": ", indent+"    ", printable(d.Text))
	}
	if one.Remedy != "" {
		wrapped(b, indent+"→ ", indent+"  ", printable(one.Remedy))
	}
}

// wrapped writes a text in lines of textWidth, broken at spaces.
func wrapped(b *blocks, first, rest, text string) {
	line, empty := first, true // a log line keeps its spaces
	for word := range strings.SplitSeq(text, " ") {
		if !empty && len([]rune(line))+1+len([]rune(word)) > textWidth {
			b.linef("%s", line)
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.linef("%s", line)
}

// countsOf writes how much was found of each severity, the worst first.
func countsOf(r *check.Report) string {
	n := r.Counts
	return fmt.Sprintf("%s, %s, %s, %d ok", plural(n["error"], "error"), plural(n["warning"], "warning"), plural(n["note"], "note"), n["ok"])
}
