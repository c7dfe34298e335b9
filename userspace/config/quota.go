package config

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/policy"
)

// PostfixPolicy is what the server of Postfix's policy requests does.
type PostfixPolicy struct {
	Listen            []string // "unix:PATH" or "tcp:ADDRESS:PORT", a loopback address; none: it does not run
	Users             []string // of the system, who may ask through a unix socket besides root and the agent's own
	OverQuota         string   // how mail over a quota or a limit is answered: defer, reject, hold or slow
	Guarded           string   // how mail of deferred users, and of strangers of guarded ones, is
	Pause             time.Duration
	UnknownRecipients bool // recipients that Postfix refuses after it has asked count as unknown
}

// defaultPostfixPolicy does not run.
func defaultPostfixPolicy() PostfixPolicy {
	return PostfixPolicy{Users: []string{"postfix", "Debian-exim", "exim"}, OverQuota: "defer", Guarded: "defer", Pause: 10 * time.Second}
}

// maxPause is how long a message may be held up: an SMTP client waits for five
// minutes at least (RFC 5321 section 4.5.3.2), a user for less.
const maxPause = 2 * time.Minute

func (c *Config) postfixPolicy(top *section) {
	s := top.section("postfix_policy")
	if s == nil {
		return
	}
	p := &c.PostfixPolicy
	for i, text := range s.texts("listen", "unix:/run/weir/policy.sock") {
		if address, problem, remedy := policyAddress(text); problem != "" {
			s.failElement("listen", i, problem, remedy)
		} else if slices.Contains(p.Listen, address) {
			s.failElement("listen", i, fmt.Sprintf("names %q twice", text), "remove one")
		} else if address != "" {
			p.Listen = append(p.Listen, address)
		}
	}
	if _, given := s.get("users"); given {
		p.Users = s.texts("users", "postfix")
	}
	s.reply("over_quota", &p.OverQuota)
	s.reply("guarded", &p.Guarded)
	if pause := s.duration("pause", "10s"); pause > maxPause {
		s.fail("pause", "is longer than a client waits", fmt.Sprintf("write %s at most", policy.FormatDuration(maxPause)))
	} else if pause > 0 {
		p.Pause = pause
	}
	p.UnknownRecipients = s.boolean("unknown_recipients")
	s.finish()
}

func (s *section) reply(key string, into *string) {
	text := s.text(key, "defer")
	if text == "" {
		return
	}
	if !slices.Contains([]string{"defer", "reject", "hold", "slow"}, text) {
		s.fail(key, fmt.Sprintf("is %q", text), `write "defer", "reject", "hold" or "slow"`)
		return
	}
	*into = text
}

// policyAddress reads where to listen. Whoever can reach it can spend any
// user's quota, so it is a socket of this host.
func policyAddress(text string) (address, problem, remedy string) {
	const remedyForm = `write such as "unix:/run/weir/policy.sock" or "tcp:127.0.0.1:10031"`
	network, rest, _ := strings.Cut(text, ":")
	switch network {
	case "":
		return "", "", "" // complained about already
	case "unix":
		if !filepath.IsAbs(rest) || strings.ContainsRune(rest, 0) {
			return "", fmt.Sprintf("holds %q, which is no path that begins with /", text), remedyForm
		}
		return network + ":" + filepath.Clean(rest), "", ""
	case "tcp":
		at, err := netip.ParseAddrPort(rest)
		switch {
		case err != nil || at.Port() == 0:
			return "", fmt.Sprintf("holds %q, which is no address with a port", text), remedyForm
		case !at.Addr().Unmap().IsLoopback():
			return "", fmt.Sprintf("holds %q, which others can reach", text), "listen on 127.0.0.1 or [::1], or on a unix socket: whoever can ask can spend anybody's quota"
		}
		return network + ":" + at.String(), "", ""
	}
	return "", fmt.Sprintf("holds %q", text), remedyForm
}

// quota reads [quota] and what stands below it.
func (c *Config) quota(top *section) {
	s := top.section("quota")
	if s == nil {
		return
	}
	q := &c.Quota
	q.Each = s.quota("")
	q.Users = s.overrides("user", "alice@example.com")
	q.Domains = s.overrides("domain", "example.com")
	q.Groups = s.groups()
	if own := s.section("source"); own != nil {
		own.name = "quota.source: "
		q.Source = own.quota("")
		own.finish()
	}
	if own := s.section("sender"); own != nil {
		own.name = "quota.sender: "
		q.Sender = own.quota("")
		own.finish()
	}
	s.finish()
}

// quota reads recipients and messages, whose keys begin with prefix.
func (s *section) quota(prefix string) (q policy.Quota) {
	q.Recipients = s.spans(prefix + "recipients")
	q.Messages = s.spans(prefix + "messages")
	return q
}

// spans reads one list of "COUNT/TIME". It is nil if there is none: an empty
// one says that there is no bound.
func (s *section) spans(key string) []policy.QuotaSpan {
	if _, given := s.get(key); !given {
		return nil
	}
	spans := []policy.QuotaSpan{}
	for i, text := range s.texts(key, "300/1h") {
		if text == "" {
			continue
		}
		span, err := policy.ParseQuotaSpan(text)
		if err != nil {
			s.failElement(key, i, fmt.Sprintf("holds %s", shown(text)), `write how many within which time, such as "300/1h", "1000/1d" or "300/1h burst 50"`)
			continue
		}
		spans = append(spans, span)
	}
	if err := (&policy.Quota{Recipients: spans}).Validate(); err != nil && !s.broken[key] {
		s.fail(key, "holds "+err.Error(), "keep one for each time")
	}
	return spans
}

// named yields the tables below key, by name: [quota.user."NAME"].
func (s *section) named(key, example string) []*section {
	under := s.section(key)
	if under == nil {
		return nil
	}
	var found []*section
	for _, name := range slices.Sorted(maps.Keys(under.values)) {
		values, ok := under.values[name].(map[string]any)
		if !ok {
			s.doc.fail(under.line(name), fmt.Sprintf("%s%s.%s is not a table", s.name, key, name),
				fmt.Sprintf("write a line [quota.%s.%q] before its keys", key, example))
			continue
		}
		t := newSection(s.doc, join(under.path, name), fmt.Sprintf("quota.%s.%q: ", key, name), values)
		found = append(found, t)
	}
	return found
}

// nameOf returns the last part of a section's path.
func (s *section) nameOf() string { return s.path[strings.LastIndex(s.path, pathSeparator)+1:] }

func (s *section) overrides(key, example string) map[string]policy.QuotaOverride {
	found := make(map[string]policy.QuotaOverride)
	lines := make(map[string]int)
	for _, t := range s.named(key, example) {
		name := policy.FoldUser(t.nameOf())
		if line, twice := lines[name]; twice {
			t.doc.fail(t.line(""), fmt.Sprintf("%sis said in line %d already", t.name, line), "remove one: letters large and small are the same")
		}
		lines[name] = t.line("")
		found[name] = t.override(key != "user")
		t.finish()
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// override reads a quota that stands in place of everybody's. together: there
// may be several who share one.
func (s *section) override(together bool) (o policy.QuotaOverride) {
	o.Exempt = s.boolean("exempt")
	o.Each = s.quota("")
	if together {
		o.Together = s.quota("together_")
	}
	if o.Exempt && len(s.values) > 1 && s.values["members"] == nil {
		s.fail("exempt", "is true, and there are quotas", "keep one of the two")
	}
	return o
}

func (s *section) groups() []policy.QuotaGroup {
	var groups []policy.QuotaGroup
	for _, t := range s.named("group", "sales") {
		g := policy.QuotaGroup{Name: t.nameOf(), Members: t.texts("members", "alice@example.com")}
		if len(g.Members) == 0 && !t.broken["members"] {
			t.fail("members", "is missing", `name who is in it, such as members = ["alice@example.com"]`)
		}
		g.QuotaOverride = t.override(true)
		t.finish()
		groups = append(groups, g)
	}
	return groups
}
