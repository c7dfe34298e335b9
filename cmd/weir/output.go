package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// outputFlag adds -o; the first of forms is the default.
func outputFlag(cmd *cobra.Command, output *string, forms ...string) {
	cmd.Flags().StringVarP(output, "output", "o", forms[0], "`form` of the output: "+strings.Join(forms, ", "))
	mustComplete(cmd, "output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}

// mustComplete says how a flag's value is completed.
func mustComplete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // no such flag: a slip in this program
	}
}

// mustReason adds the flag that says why something is changed.
func mustReason(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why, for those who ask later")
	mustComplete(cmd, "reason", cobra.NoFileCompletions)
}

// show writes v as indented JSON or, with text, for people.
func show[T any](cmd *cobra.Command, out io.Writer, form string, v *T, text func(*T) error) error {
	switch form {
	case "text":
		return text(v)
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return usagef(cmd, "unknown output %q: want text or json", form)
}

// blocks writes lines and remembers the first error, so that what composes a
// text need not look after each.
type blocks struct {
	out io.Writer
	err error
}

func (b *blocks) linef(format string, args ...any) {
	if b.err == nil {
		_, b.err = fmt.Fprintf(b.out, format+"\n", args...)
	}
}

// table writes what fill writes, its tabs made columns.
func (b *blocks) table(flags uint, fill func(*blocks)) {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', flags)
	inner := &blocks{out: w, err: b.err}
	fill(inner)
	if b.err = inner.err; b.err == nil {
		b.err = w.Flush()
	}
}

// field writes a labelled line of a block.
func (b *blocks) field(label, format string, args ...any) {
	b.linef("  %-9s %s", label, fmt.Sprintf(format, args...))
}
