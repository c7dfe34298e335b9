package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func listed(prefix string, action Action) Decision {
	return Decision{Target: Target{Prefix: netip.MustParsePrefix(prefix)}, Action: action, Listed: true, Rule: "droplist", Reason: "drop.txt:3"}
}

// Who wins where lists, pins, rules and allows meet, and what is left when the
// list's entry goes.
func TestListedRank(t *testing.T) {
	now := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	pin := func(prefix string, action Action) Decision {
		return Decision{Target: Target{Prefix: netip.MustParsePrefix(prefix)}, Action: action, Pinned: true, Since: now}
	}
	rule := func(prefix string, action Action) Decision {
		return Decision{Target: Target{Prefix: netip.MustParsePrefix(prefix)}, Action: action, Rule: "r", Since: now, Until: now.Add(time.Hour)}
	}
	const at = "203.0.113.7/32"
	for _, c := range []struct {
		name          string
		list          Decision
		others        []Decision
		allow         string
		with, without string // what decides about at
	}{
		{"alone", listed("203.0.113.0/24", Drop), nil, "", "drop list", ""},
		{"below a pin on the same prefix", listed(at, Drop), []Decision{pin(at, Limit)}, "", "limit pin", "limit pin"},
		{"below a pin inside", listed("203.0.113.0/24", Drop), []Decision{pin(at, Limit)}, "", "limit pin", "limit pin"},
		{"milder inside a pin", listed(at, Limit), []Decision{pin("203.0.113.0/24", Drop)}, "", "drop pin", "drop pin"},
		{"below an allow around", listed(at, Drop), nil, "203.0.113.0/24", "allow", "allow"},
		{"below an allow inside", listed("203.0.113.0/24", Drop), nil, at, "allow", "allow"},
		{"below a pinned allow", listed(at, Drop), []Decision{pin("203.0.112.0/22", Allow)}, "", "allow pin", "allow pin"},
		{"a rule does not soften it", listed("203.0.113.0/24", Drop), []Decision{rule(at, Limit)}, "", "drop list", "limit rule"},
		{"a rule on the same prefix does not soften it", listed(at, Drop), []Decision{rule(at, Limit)}, "", "drop list", "limit rule"},
		{"a harsher rule goes before it", listed(at, Limit), []Decision{rule(at, Drop)}, "", "drop rule", "drop rule"},
		{"a harsher rule inside", listed("203.0.113.0/24", Limit), []Decision{rule(at, Drop)}, "", "drop rule", "drop rule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, first := range []bool{true, false} { // whichever comes first
				l := NewLedger()
				if c.allow != "" {
					l.SetAllow([]netip.Prefix{netip.MustParsePrefix(c.allow)})
				}
				if first {
					l.PutListed(c.list)
				}
				l.Put(now, c.others...)
				if !first {
					l.PutListed(c.list)
				}
				bob := Decision{Target: Target{User: "bob"}, Action: Guard, Rule: "x", Until: now.Add(time.Hour)}
				l.Put(now, bob)
				if got, want := l.Tally(), countAll(l); got != want || got.Users != 1 {
					t.Errorf("it tells of %+v, holds %+v", got, want)
				}
				if got := decidingText(l, at); got != c.with {
					t.Errorf("list first: %t: decides %q, want %q", first, got, c.with)
				}
				l.RemoveListed(c.list.Prefix)
				if got := decidingText(l, at); got != c.without {
					t.Errorf("without the list: decides %q, want %q", got, c.without)
				}
				l.RemoveListed(c.list.Prefix) // nothing is there
				l.Expire(now.Add(time.Hour))
				if got, want := l.Tally(), countAll(l); got != want || got.Users != 0 {
					t.Errorf("without the list it tells of %+v, holds %+v", got, want)
				}
			}
		})
	}
}

// decidingText says what decides, and that all ways of asking agree.
func decidingText(l *Ledger, prefix string) string {
	p := netip.MustParsePrefix(prefix)
	d := l.Deciding(p)
	for _, c := range l.LookupPrefix(p) {
		if c.Wins && c.Decision != d {
			return "LookupPrefix says otherwise"
		}
	}
	switch {
	case d == nil:
		return ""
	case d.Listed:
		return d.Action.String() + " list"
	case d.Pinned:
		return d.Action.String() + " pin"
	case d.Rule != "":
		return d.Action.String() + " rule"
	}
	return d.Action.String()
}

func TestListedChanges(t *testing.T) {
	l := NewLedger()
	if got := l.PutListed(listed("203.0.113.0/24", Drop), listed("2001:db8::1/128", Drop)); len(got) != 2 {
		t.Errorf("put: %v", got)
	}
	if got := l.PutListed(listed("203.0.113.0/24", Drop)); len(got) != 0 {
		t.Errorf("the same again changes %v", got)
	}
	if d := l.Listed(netip.MustParsePrefix("2001:db8::/64")); d == nil || d.Rule != "droplist" {
		t.Errorf("listed: %+v", d)
	}
	if c := l.LookupPrefix(netip.MustParsePrefix("203.0.113.9/32")); len(c) != 1 || !strings.Contains(c[0].Why, "list") {
		t.Errorf("concerns: %+v", c)
	}
	if ended, changes := l.Expire(time.Now().Add(1e6 * time.Hour)); len(ended)+len(changes) != 0 {
		t.Error("a list's entry ends by itself")
	}
	n := 0
	for d := range l.All() {
		if d.Listed {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d of all", n)
	}
	got := l.RemoveListed(netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/64"))
	if len(got) != 2 || got[0].Decision != nil {
		t.Errorf("removed: %v", got)
	}
	if l.entries.Size() != 0 {
		t.Error("something is left")
	}
}

func TestOnUser(t *testing.T) {
	now := time.Now()
	l := NewLedger()
	l.Put(now, Decision{Target: Target{User: "alice"}, Action: Guard, Rule: "r", Until: now.Add(time.Hour)})
	if d := l.OnUser("Alice"); d == nil || d.Action != Guard {
		t.Errorf("alice: %+v", d)
	}
	if l.OnUser("bob") != nil {
		t.Error("bob is guarded")
	}
}

func BenchmarkPutListed(b *testing.B) {
	const rows = 1_000_000
	for b.Loop() {
		b.StopTimer()
		all := make([]Decision, rows)
		for i := range all {
			a := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
			all[i] = Decision{Target: Target{Prefix: netip.PrefixFrom(a, 32)}, Action: Drop, Listed: true, Rule: "l"}
		}
		l := NewLedger()
		b.StartTimer()
		l.PutListed(all...)
	}
}
