package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) listCommand() *cobra.Command {
	var action, rule, prefix, output string
	var pinned bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List who is flagged, and the pins",
		Long: `List every decision that stands: users by name, then sources and prefixes by
address. Numbers of attempts and dropped packets come from the kernel.

JSON is one array of objects with the fields source or user, action, since,
until (null: never), rule, pinned, reason and dropped; and, where they apply,
attempts, rate (a minute), burst, in_force and overridden_by. CSV has the same.`,
		Example: `  weir list
  weir list --action drop --prefix 203.0.113.0/24
  weir list --pinned=false -o json | jq -r '.[].source'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&action, "action", "", "only this `action`: allow, limit, tarpit, drop, defer, guard or quota")
	f.BoolVar(&pinned, "pinned", false, "only pins; --pinned=false: only automatic decisions")
	f.StringVar(&prefix, "prefix", "", "only this `prefix` and what is inside it")
	f.StringVar(&rule, "rule", "", "only what this `rule` decided")
	outputFlag(cmd, &output, "table", "json", "csv")
	mustComplete(cmd, "action", cobra.FixedCompletions([]string{"allow", "limit", "tarpit", "drop", "defer", "guard", "quota"}, cobra.ShellCompDirectiveNoFileComp))
	mustComplete(cmd, "rule", a.completeRules)
	mustComplete(cmd, "prefix", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter := control.Filter{Rule: rule}
		if action != "" {
			if filter.Action.UnmarshalText([]byte(action)) != nil {
				return usagef(cmd, "unknown action %q: want allow, limit, tarpit, drop, defer, guard or quota", action)
			}
		}
		if cmd.Flags().Changed("pinned") {
			filter.Pinned = &pinned
		}
		if prefix != "" {
			p, err := control.ParsePrefix(prefix)
			if err != nil {
				return usage(cmd, err)
			}
			filter.Prefix = p
		}
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		out := bufio.NewWriterSize(a.stdout, 64<<10)
		switch output {
		case "table":
			err = a.writeTable(out, client.Decisions(cmd.Context(), filter))
		case "json":
			err = writeJSONRows(out, client.DecisionLines(cmd.Context(), filter))
		case "csv":
			err = writeCSVRows(out, client.Decisions(cmd.Context(), filter))
		default:
			err = usagef(cmd, "unknown output %q: want table, json or csv", output)
		}
		if err := errors.Join(err, out.Flush()); err != nil || output != "table" {
			return err
		}
		return a.sayHold(cmd.Context(), client)
	}
	return cmd
}

// sayHold tells why nothing of the list is in force, if an operator wants that.
func (a *app) sayHold(ctx context.Context, client *control.Client) error {
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	b := &blocks{out: a.stderr}
	tellHold(b, a.now(), st)
	return b.err
}

// tableBlock is how many rows are aligned with one another. A table that is
// longer is written in blocks, so that a million rows take no memory.
const tableBlock = 1000

func (a *app) writeTable(out io.Writer, rows iter.Seq2[control.Row, error]) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	now, n := a.now(), 0
	for r, err := range rows {
		if err != nil {
			return err
		}
		if n == 0 {
			fmt.Fprintln(w, "TARGET\tACTION\tSINCE\tENDS\tRULE\tATTEMPTS\tDROPPED\tREASON")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(r.Target()), r.ActionText(), ago(now, r.Since), ahead(now, r.Until),
			ruleWords(&r), kernelCount(&r, r.Attempts), kernelCount(&r, r.Dropped), printable(reasonWords(&r)))
		if n++; n%tableBlock == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		fmt.Fprintln(a.stderr, "nothing is listed")
	}
	return w.Flush()
}

// kernelCount writes n, which the kernel counts of sources and not of users.
func kernelCount(r *control.Row, n uint64) string {
	if r.User != "" {
		return "-"
	}
	return count(n)
}

func ruleWords(r *control.Row) string {
	if r.Pinned {
		return "(pin)"
	}
	if r.Listed {
		return "(list " + printable(r.Rule) + ")"
	}
	return printable(r.Rule)
}

// reasonWords writes why, after what an operator must know first: that it does
// nothing.
func reasonWords(r *control.Row) string {
	switch {
	case r.OverriddenBy != "":
		return "[overridden by " + r.OverriddenBy + "] " + r.Reason
	case r.User == "" && !r.InForce:
		return "[not in force] " + r.Reason
	}
	return r.Reason
}

// writeJSONRows makes one array of rows that are JSON already.
func writeJSONRows(out io.Writer, rows iter.Seq2[[]byte, error]) error {
	separator := "[\n"
	for row, err := range rows {
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, separator); err != nil {
			return err
		}
		if _, err := out.Write(row); err != nil {
			return err
		}
		separator = ",\n"
	}
	end := "\n]\n"
	if separator == "[\n" {
		end = "[]\n"
	}
	_, err := io.WriteString(out, end)
	return err
}

func writeCSVRows(out io.Writer, rows iter.Seq2[control.Row, error]) error {
	w := csv.NewWriter(out)
	header := []string{"source", "user", "action", "since", "until", "rule", "pinned", "reason", "dropped", "attempts", "rate", "burst", "in_force", "overridden_by", "bytes_per_second", "quota"}
	if err := w.Write(header); err != nil {
		return err
	}
	for r, err := range rows {
		if err != nil {
			return err
		}
		until := ""
		if r.Until != nil {
			until = r.Until.Format(time.RFC3339Nano)
		}
		if err := w.Write([]string{r.Source, r.User, r.Action.String(), r.Since.Format(time.RFC3339Nano), until, r.Rule, strconv.FormatBool(r.Pinned), r.Reason,
			strconv.FormatUint(r.Dropped, 10), strconv.FormatUint(r.Attempts, 10), strconv.FormatFloat(r.Rate, 'g', -1, 64), strconv.Itoa(r.Burst),
			strconv.FormatBool(r.InForce), r.OverriddenBy, strconv.FormatInt(r.Bytes, 10), r.Quota}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
