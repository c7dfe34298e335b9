package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weir/userspace/control"
)

func (a *app) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "What users send, against their quotas, and your word on it",
		Long: `Look at what users have sent against their quotas ([quota] in the configuration),
and lay down what holds for one of them. It takes effect where mail servers ask
weir ([postfix_policy]).`,
		Example: `  weir user list
  weir user show alice@example.org
  weir user set alice@example.org --action limit --rate 100/h --for 1d
  weir user set news@example.org --recipients 5000/1d
  weir user reset alice@example.org`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.userListCommand(), a.userShowCommand(), a.userSetCommand(), a.userResetCommand())
	return cmd
}

// oneUser wants a user.
func oneUser(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one user, not %d", len(args))
	}
	return nil
}

func (a *app) userListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users that have spent something of a quota, or on whom a decision stands",
		Long: `List the users that have spent something of a quota, or on whom a decision
stands. JSON is one array of objects, as user show writes them without sources.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	outputFlag(cmd, &output, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		users := []control.User{}
		for u, err := range client.Users(cmd.Context()) {
			if err != nil {
				return err
			}
			users = append(users, u)
		}
		switch output {
		case "table":
			return a.writeUsers(users)
		case "json":
			e := json.NewEncoder(a.stdout)
			e.SetIndent("", "  ")
			return e.Encode(users)
		}
		return usagef(cmd, "unknown output %q: want table or json", output)
	}
	return cmd
}

func (a *app) writeUsers(users []control.User) error {
	if len(users) == 0 {
		fmt.Fprintln(a.stderr, "nothing is listed: no user has spent anything of a quota, and no decision stands on one")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tDECISION\tENDS\tSPENT")
	for i := range users {
		u := &users[i]
		decision, ends := "-", "-"
		if d := u.Decision; d != nil {
			decision, ends = d.ActionText()+" "+ruleWords(d), ahead(a.now(), d.Until)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(u.User), decision, ends, spentWords(u))
	}
	return w.Flush()
}

// spentWords tells in one phrase what a user has spent.
func spentWords(u *control.User) string {
	if u.Exempt {
		return "exempt"
	}
	var words []string
	for _, q := range u.Quotas {
		if q.Spent > 0 && q.Of == "user" {
			words = append(words, fmt.Sprintf("%s of %s %s", count(q.Spent), q.Quota, q.Measure))
		}
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

func (a *app) userShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show USER",
		Short: "Show what a user has spent, what stands on it, and where it sends from",
		Long: `Show what a user has spent of each quota that holds for it, when more may be
sent, what stands on it, and the sources that it succeeded from. Those marked
as its own may go on while it is guarded.`,
		Example:           `  weir user show alice@example.org -o json`,
		Args:              oneUser,
		ValidArgsFunction: a.completeUsers,
	}
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		u, err := client.User(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(cmd, a.stdout, output, u, a.tellUser)
	}
	return cmd
}

const unsaid = "no reason was given"

// tellUser writes what is known of a user's mail.
func (a *app) tellUser(u *control.User) error {
	b, now := &blocks{out: a.stdout}, a.now()
	b.linef("%s", printable(u.User))
	if d := u.Decision; d != nil {
		b.field("stands", "%s, ends %s: %s (weir explain %s tells more)", d.ActionText()+" "+ruleWords(d), ahead(now, d.Until), printable(cmp.Or(d.Reason, unsaid)), printable(u.User))
	} else {
		b.field("stands", "nothing")
	}
	if o := u.Own; o != nil {
		b.field("set", "%s, ends %s: %s", o.ActionText(), ahead(now, o.Until), printable(cmp.Or(o.Reason, unsaid)))
	}
	switch {
	case u.Exempt:
		b.field("quotas", "none: exempt")
	case len(u.Quotas) == 0:
		b.field("quotas", "none")
	}
	b.table(0, func(b *blocks) {
		for _, q := range u.Quotas {
			whose := ""
			if q.Of != "user" {
				whose = fmt.Sprintf(" of %s %s together", q.Of, printable(q.Name))
			}
			free := "more may be sent"
			if q.Free != nil {
				free = "more from " + stamp(now, *q.Free) + " on"
			}
			b.linef("  quota\t%s %s%s\t%s spent (%s)\t%s", q.Quota, q.Measure, whose, count(q.Spent), percent(q.Spent, q.Count), free)
		}
	})
	b.table(0, func(b *blocks) {
		for _, s := range u.Sources {
			own := "a stranger yet"
			if s.Known {
				own = "its own"
			}
			b.linef("  source\t%s\t%s\tfirst %s, last %s", s.Source, own, ago(now, s.First), ago(now, s.Last))
		}
	})
	return b.err
}

func (a *app) userSetCommand() *cobra.Command {
	var terms control.Terms
	var action string
	cmd := &cobra.Command{
		Use:   "set USER --action allow|limit|defer|guard | --recipients QUOTA | --messages QUOTA",
		Short: "Decide about a user's mail yourself",
		Long: `Lay down what holds for a user's mail, in place of what rules and quotas say:

  allow   all of it passes
  limit   so many recipients pass in a time, shared fairly among its sources
  defer   it is told to come back later
  guard   it passes from the user's own sources and no others

Or give it quotas of its own in place of the configured ones, "any" for none;
what you leave open, the configuration says. A rule may still flag the user.

It stands until weir user reset, or for as long as --for says; the next set
takes its place.`,
		Example: `  weir user set alice@example.org --action limit --rate 100/h --burst 20 --for 1d
  weir user set news@example.org --action allow --reason "the newsletter"
  weir user set news@example.org --recipients 300/1h --recipients "5000/1d burst 500" --messages any`,
		Args:              oneUser,
		ValidArgsFunction: a.completeUsers,
	}
	f := cmd.Flags()
	f.StringVar(&action, "action", "", "`action`: allow, limit, defer or guard")
	f.StringVar(&terms.Rate, "rate", "", "with limit: recipients let through, such as `100/h` (s, m, h, d)")
	f.IntVar(&terms.Burst, "burst", 0, "with limit: recipients let through at once (at least 4)")
	f.StringArrayVar(&terms.Recipients, "recipients", nil, "`quota` of recipients, such as 300/1h; more than once for more spans")
	f.StringArrayVar(&terms.Messages, "messages", nil, "`quota` of messages, such as 100/1h")
	f.StringVar(&terms.For, "for", "", "how long, such as `1d` or 12h (default: until reset)")
	mustReason(cmd, &terms.Reason)
	mustComplete(cmd, "action", cobra.FixedCompletions([]string{"allow", "limit", "defer", "guard"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"rate", "burst", "recipients", "messages", "for"} {
		mustComplete(cmd, flag, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if action == "" && len(terms.Recipients)+len(terms.Messages) > 0 {
			action = "quota"
		}
		if terms.Action.UnmarshalText([]byte(action)) != nil {
			return usagef(cmd, "say what to do with the user's mail: --action allow, limit, defer or guard, or --recipients and --messages")
		}
		if _, err := terms.UserDecision(args[0], a.now(), ""); err != nil {
			return usage(cmd, err)
		}
		client, err := a.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		row, err := client.SetUser(cmd.Context(), args[0], terms)
		if err != nil {
			return err
		}
		ends := "until weir user reset"
		if row.Until != nil {
			ends = "for " + terms.For
		}
		fmt.Fprintf(a.stdout, "%s is set to %s %s\n", printable(row.User), row.ActionText(), ends)
		return nil
	}
	return cmd
}

func (a *app) userResetCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "reset USER [--reason TEXT]",
		Short: "Take back what a user has spent, and what you have set",
		Long: `Let a user begin anew: what it has spent of its own quotas is forgotten, what
the quotas decided and what weir user set laid down is lifted. What a rule
decided stays: weir release lifts that.`,
		Example:           `  weir user reset alice@example.org`,
		Args:              oneUser,
		ValidArgsFunction: a.completeUsers,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			result, err := client.ResetUser(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			for _, q := range result.Spent {
				fmt.Fprintf(a.stdout, "%s %s of %s are forgotten\n", count(q.Spent), q.Measure, q.Quota)
			}
			for i := range result.Lifted {
				fmt.Fprintf(a.stdout, "%s is lifted\n", standingWords(&result.Lifted[i]))
			}
			if r := result.Stands; r != nil {
				fmt.Fprintf(a.stdout, "still standing: %s (undo it with %s)\n", standingWords(r), undo(r))
			}
			if len(result.Spent)+len(result.Lifted) == 0 {
				fmt.Fprintf(a.stdout, "%s had spent nothing, and nothing was set\n", printable(args[0]))
			}
			return nil
		},
	}
	mustReason(cmd, &reason)
	return cmd
}

// completeUsers completes users on whom a decision stands.
func (a *app) completeUsers(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for r := range a.rowsNow(cmd, control.Filter{Begins: begun}) {
		if r.User != "" && printable(r.User) == r.User {
			found = append(found, cobra.CompletionWithDesc(r.User, r.ActionText()+" "+ruleWords(&r)))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
