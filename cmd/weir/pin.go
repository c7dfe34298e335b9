package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/policy"
	"weir/userspace/control"
)

func (a *app) pinCommand() *cobra.Command {
	var terms control.Terms
	var action, from string
	var yes bool
	cmd := &cobra.Command{
		Use:   "pin {SOURCE... | --from FILE} --action drop|limit|allow",
		Short: "Decide about a source yourself",
		Long: `Pin sources or prefixes to an action. A pin wins over what rules decide, and
allow wins over everything, whatever is wider or narrower. A source that is
pinned already takes the new terms.

A list has one "PREFIX [# comment]" a line; the comment becomes the reason. It
is checked to its end first: one bad line, and nothing is pinned.

An IPv6 address stands for its /64, because that is what its owner holds.`,
		Example: `  weir pin 203.0.113.9 --action drop --for 30d --reason "guesses passwords"
  weir pin 198.51.100.0/24 --action allow --reason "our office"
  weir pin 2001:db8:1::/48 --action limit --rate 6/m --burst 10
  weir pin --from blocked.txt --action drop --for 2w
  sort -u *.txt | weir pin --from - --action drop`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&action, "action", "", "`drop`, limit or allow (required)")
	f.StringVar(&terms.Rate, "rate", "", "with limit: connection openings let through, such as `6/m` (s, m, h, d)")
	f.IntVar(&terms.Burst, "burst", 0, "with limit: openings let through at once (default 1)")
	f.StringVar(&terms.For, "for", "", "how long, such as `30d`, 2w or 12h (default until it is unpinned)")
	f.StringVar(&terms.Reason, "reason", "", "why, for those who ask later")
	f.StringVar(&from, "from", "", "read the prefixes from this `file`; - is standard input")
	f.BoolVar(&yes, "yes", false, "do not ask before very wide prefixes are dropped")
	mustComplete(cmd, "action", cobra.FixedCompletions([]string{"allow", "drop", "limit"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"rate", "burst", "for", "reason"} {
		mustComplete(cmd, flag, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if action == "" {
			return usagef(cmd, "say what to do with it: --action drop, limit or allow")
		}
		if err := terms.Action.UnmarshalText([]byte(action)); err != nil {
			return usage(cmd, err)
		}
		model, err := terms.Decision(a.now(), "")
		if err != nil {
			return usage(cmd, err)
		}
		list, err := a.openPrefixes(cmd, args, from)
		if err != nil {
			return err
		}
		defer list.close()
		if terms.Action == policy.Drop && list.wides > 0 && !yes {
			if err := a.confirm(cmd, list, from == "-"); err != nil {
				return err
			}
		}
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		done, err := a.bulk(cmd, list, "pin", func(progress func(int)) (control.Progress, error) {
			return client.Pin(cmd.Context(), terms, list, progress)
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s %s pinned to %s%s\n", list, list.is(), pinWords(&model), a.forWords(model.Until))
		if err == nil && done.Done != list.count {
			err = fmt.Errorf("the agent pinned %s of them: compare with weir list --pinned", count(done.Done))
		}
		return err
	}
	return cmd
}

func pinWords(d *policy.Decision) string {
	if d.Action != policy.Limit {
		return d.Action.String()
	}
	return fmt.Sprintf("limit %v (burst %d)", d.Rate, d.Rate.Burst)
}

func (a *app) forWords(until time.Time) string {
	if until.IsZero() {
		return " until it is unpinned"
	}
	return " until " + stamp(a.now(), until)
}

// confirm asks before very wide prefixes are dropped.
func (a *app) confirm(cmd *cobra.Command, list *prefixList, stdinTaken bool) error {
	var names []string
	for _, p := range list.wide {
		names = append(names, policy.PrefixString(p)+widthWords(p))
	}
	if more := list.wides - len(list.wide); more > 0 {
		names = append(names, fmt.Sprintf("and %s more", count(more)))
	}
	what := strings.Join(names, ", ")
	if stdinTaken || !a.isTerminal(a.stdin) {
		return usagef(cmd, "dropping %s is very wide: say --yes if you mean it", what)
	}
	fmt.Fprintf(a.stderr, "Drop %s? Nobody there will reach the protected ports. [y/N] ", what)
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return usagef(cmd, "nothing was pinned")
}

// widthWords tells how much p is.
func widthWords(p netip.Prefix) string {
	switch {
	case p.Bits() == 0 && p.Addr().Is4():
		return " (every IPv4 address)"
	case p.Bits() == 0:
		return " (every IPv6 address)"
	case p.Addr().Is4():
		return " (" + count(uint64(1)<<(32-p.Bits())) + " addresses)"
	}
	return ""
}
