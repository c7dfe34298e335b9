package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) pinCommand() *cobra.Command {
	var terms control.Terms
	var action, from string
	var yes bool
	cmd := &cobra.Command{
		Use:   "pin {SOURCE... | --from FILE} --action drop|tarpit|limit|allow",
		Short: "Decide about a source yourself",
		Long: `Pin sources or prefixes to an action. A pin wins over what rules decide, and
allow wins over everything, whatever is wider or narrower. A source that is
pinned already takes the new terms.

A list has one "PREFIX [# comment]" a line; the comment becomes the reason. It
is checked to its end first: one bad line, and nothing is pinned. Of lines
about the same prefix the last counts.

A limit lets connections through at a rate, data on them at another, or both;
what is beyond it is dropped, and TCP slows down by itself. A tarpit answers
those who connect and then keeps them waiting for as long as they will, while
the mail server sees nothing of them.

An IPv6 address stands for its /64, because that is what its owner holds.`,
		Example: `  weir pin 203.0.113.9 --action drop --for 30d --reason "guesses passwords"
  weir pin 198.51.100.0/24 --action allow --reason "our office"
  weir pin 2001:db8:1::/48 --action limit --rate 6/m --burst 10
  weir pin 203.0.113.20 --action limit --bytes 64K/s
  weir pin --from blocked.txt --action drop --for 2w
  sort -u *.txt | weir pin --from - --action drop`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&action, "action", "", "`action`: drop, tarpit, limit or allow (required)")
	f.StringVar(&terms.Rate, "rate", "", "with limit: connection openings let through, such as `6/m` (s, m, h, d)")
	f.IntVar(&terms.Burst, "burst", 0, "with limit: openings let through at once (default 1)")
	f.StringVar(&terms.Bytes, "bytes", "", "with limit: data let through on open connections, such as `64K/s` (K, M, G)")
	f.StringVar(&terms.For, "for", "", "how long, such as `30d`, 2w or 12h (default: until unpinned)")
	mustReason(cmd, &terms.Reason)
	f.StringVar(&from, "from", "", "read the prefixes from this `file`; - is standard input")
	f.BoolVar(&yes, "yes", false, "do not ask before very wide prefixes are dropped")
	mustComplete(cmd, "action", cobra.FixedCompletions([]string{"allow", "drop", "limit", "tarpit"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"rate", "burst", "bytes", "for"} {
		mustComplete(cmd, flag, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if action == "" {
			return usagef(cmd, "say what to do with it: --action drop, tarpit, limit or allow")
		}
		if terms.Action.UnmarshalText([]byte(action)) != nil {
			return usagef(cmd, "unknown action %q: want drop, tarpit, limit or allow", action)
		}
		if cmd.Flags().Changed("burst") && terms.Burst < 1 {
			return usagef(cmd, "bad --burst %d: want 1 or more", terms.Burst)
		}
		model, err := terms.Decision(a.now(), "")
		if err != nil {
			return usage(cmd, err)
		}
		list, err := a.readList(cmd, args, from)
		if err != nil {
			return err
		}
		if terms.Blocks() && list.Wides > 0 && !yes {
			if err := a.confirm(cmd, list, from == "-"); err != nil {
				return err
			}
		}
		what := strings.TrimSpace(action + " " + control.LimitText(model.Rate.PerMinute(), model.Rate.Burst, model.Rate.Bytes))
		return a.pin(cmd, terms, list, what, model.Until)
	}
	return cmd
}

// pin has list pinned and says so: to what, and until when.
func (a *app) pin(cmd *cobra.Command, terms control.Terms, list *control.List, what string, until time.Time) error {
	done, err := a.bulk(cmd, list, "pin", func(c *control.Client, progress func(int)) (control.Progress, error) {
		return c.Pin(cmd.Context(), terms, list, progress)
	})
	if err != nil {
		return err
	}
	end := "until unpinned"
	if !until.IsZero() {
		end = "until " + stamp(a.now(), until)
	}
	if list.Count() == 1 {
		_, err = fmt.Fprintf(a.stdout, "%s is pinned to %s %s\n", list, what, end)
		a.sayWithoutEffect(cmd, list.String())
	} else {
		_, err = fmt.Fprintf(a.stdout, "%s prefixes are pinned to %s %s\n", count(done.Done), what, end)
	}
	return err
}

// sayWithoutEffect tells why a pin that stands does nothing, if it does not:
// whoever pins in a hurry looks no further.
func (a *app) sayWithoutEffect(cmd *cobra.Command, target string) {
	client, err := a.client(cmd)
	if err != nil {
		return
	}
	defer client.Close()
	e, err := client.Explain(cmd.Context(), target)
	if err != nil {
		return // the pin stands, and that was said
	}
	for i := range e.Decisions {
		switch j := &e.Decisions[i]; {
		case !j.Pinned || j.Source != e.Target:
		case j.OverriddenBy != "":
			fmt.Fprintf(a.stderr, "but it has no effect: %s wins\n", printable(j.OverriddenBy))
		case e.Mode == "observe" && e.Verdict != "allow":
			fmt.Fprintln(a.stderr, "but it has no effect yet: weir only observes (mode observe)")
		case e.Problem != "":
			fmt.Fprintf(a.stderr, "but there is a problem: %s\n", printable(e.Problem))
		}
	}
}

// confirm asks before very wide prefixes are shut out.
func (a *app) confirm(cmd *cobra.Command, list *control.List, stdinTaken bool) error {
	var names []string
	for _, p := range list.Wide {
		names = append(names, p.String()+widthWords(p))
	}
	if more := list.Wides - len(list.Wide); more > 0 {
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
	return errors.New("nothing was pinned")
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
