package check

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rules are what the configured rules would have decided.
type Rules struct {
	NotSeen error
	Since   time.Time // decisions before are not told
	Reached time.Time // the last event that was judged; zero: none was
	Began   time.Time // the first, which is before Since where there are older logs
	Stopped string    // why not all was read
	Events  uint64    // within Since and Reached
	Spared  int       // decisions on who is never shut out
	Flags   []Flag    // one a source or user, by time
}

// Flag is the first decision on a source or a user.
type Flag struct {
	Target string
	User   bool // or a source or prefix
	At     time.Time
	Action string
	Rule   string
	Reason string

	// Of a source, before it was flagged:
	Logins uint64    // that succeeded
	Users  int       // of so many users
	First  time.Time // the first of them
}

// Who has succeeded so often, over so long, is no stranger.
const (
	goodLogins = 3
	goodPast   = 6 * time.Hour
)

// isKnown reports whether a source had a long history of success.
func (x *Flag) isKnown() bool {
	return !x.User && x.Logins >= goodLogins && x.At.Sub(x.First) >= goodPast
}

// shown is how many are named.
const shown = 5

func rules(f *Facts, b *book) {
	r := &f.Rules
	switch {
	case r.NotSeen != nil:
		b.unseen("last day", r.NotSeen, "run weir check as root, or as a member of the group that the logs belong to")
		return
	case r.Reached.IsZero():
		b.add(Note, "last day", "", "the logs tell of no event in it, so nothing is known of how the rules would do")
		return
	}
	if r.Stopped != "" {
		b.add(Note, "read", "--patience gives it longer", "%s: told is up to %s", r.Stopped, r.Reached.Format(time.DateTime))
	}
	var sources, users, known []Flag
	for _, x := range r.Flags {
		switch {
		case x.User:
			users = append(users, x)
		case x.isKnown():
			known = append(known, x)
			fallthrough
		default:
			sources = append(sources, x)
		}
	}
	span := fmt.Sprintf("of %s since %s", counted(r.Events, "event", "events"), r.Since.Format(time.DateTime))
	if len(sources)+len(users) == 0 {
		b.ok("last day", "%s, the rules flag nobody", span)
	} else {
		finding := b.ok("last day", "%s, the rules flag %s and %s", span, counted(len(sources), "source or prefix", "sources and prefixes"), counted(len(users), "user", "users"))
		for _, line := range byRule(r.Flags) {
			finding.detail("rule", line)
		}
	}
	if r.Spared > 0 {
		b.ok("spared", "%s on who is never shut out", counted(r.Spared, "decision", "decisions"))
	}
	tellUsers(users, b)
	tellKnown(r, known, len(sources), b)
}

func tellUsers(users []Flag, b *book) {
	if len(users) == 0 {
		return
	}
	finding := b.add(Note, "users", "a guard turns strangers away and nobody else; of those that are flagged for what they send, see whether the password is in other hands (weir replay tells all)", "%s flagged", counted(len(users), "user would be", "users would be"))
	for _, x := range users[:min(len(users), shown)] {
		finding.detail(x.Target, fmt.Sprintf("%s, by %s at %s: %s", x.Action, x.Rule, x.At.Format(time.DateTime), x.Reason))
	}
}

// tellKnown names who is probably flagged wrongly.
func tellKnown(r *Rules, known []Flag, of int, b *book) {
	past := "only logs of that day were there to know it from"
	if r.Began.Before(r.Since.Add(-goodPast)) {
		past = "going by logs since " + r.Began.Format(time.DateTime)
	}
	if len(known) == 0 {
		if of > 0 {
			b.ok("good past", "none of those sources had a history of success (%s)", past)
		}
		return
	}
	slices.SortStableFunc(known, func(a, c Flag) int { return int(c.Logins) - int(a.Logins) })
	finding := b.add(Warning, "good past", "weir pin SOURCE --action allow spares one, allow in the configuration a network; weir replay --compare tries other rules",
		"%s of those sources had logged in %d times or more over %s before, and %s probably flagged wrongly (%s)",
		strings.TrimSpace(counted(len(known), "", "")), goodLogins, hours(goodPast), is(len(known)), past)
	for _, x := range known[:min(len(known), shown)] {
		finding.detail(x.Target, fmt.Sprintf("%s, by %s at %s: %s; %s before, of %s, since %s", x.Action, x.Rule, x.At.Format(time.DateTime), x.Reason,
			counted(x.Logins, "login", "logins"), counted(x.Users, "user", "users"), x.First.Format(time.DateTime)))
	}
}

func is(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func hours(d time.Duration) string { return fmt.Sprintf("%.0f hours", d.Hours()) }

// byRule counts flags, the most frequent first.
func byRule(flags []Flag) (out []string) {
	type group struct {
		name string
		n    int
	}
	var groups []group
	for _, x := range flags {
		name := fmt.Sprintf("%s (%s)", x.Rule, x.Action)
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{name: name})
		}
		groups[i].n++
	}
	slices.SortStableFunc(groups, func(a, b group) int { return b.n - a.n })
	for _, g := range groups {
		out = append(out, fmt.Sprintf("%s: %s", g.name, strings.TrimSpace(counted(g.n, "", ""))))
	}
	return out
}
