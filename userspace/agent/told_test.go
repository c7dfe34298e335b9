package agent

import (
	"net/netip"
	"testing"
	"time"

	"weir/policy"
)

// Each story is a row of tellings, by report ('r') or by line ('l').
func TestTold(t *testing.T) {
	start := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	type telling struct {
		by   byte
		kind policy.Kind
		user string
		news bool
		at   time.Duration
	}
	const f, s = policy.AuthFailure, policy.AuthSuccess
	for name, story := range map[string][]telling{
		"report first":                 {{'r', f, "a", true, 0}, {'l', f, "a", false, 1}, {'l', f, "a", true, 2}},
		"line first":                   {{'l', f, "a", true, 0}, {'r', f, "a", false, 1}, {'r', f, "a", true, 2}},
		"a session's end":              {{'r', f, "a", true, 0}, {'r', f, "b", true, 1}, {'r', f, "c", true, 2}, {'l', f, "c", false, 100}, {'l', f, "c", false, 100}, {'l', f, "c", false, 100}, {'l', f, "c", true, 101}},
		"crossing":                     {{'l', f, "a", true, 0}, {'r', f, "a", false, 0}, {'r', f, "a", true, 1}, {'l', f, "a", false, 1}},
		"successes of two users":       {{'r', s, "a", true, 0}, {'l', s, "b", true, 1}, {'l', s, "a", false, 1}, {'r', s, "b", false, 2}},
		"a success is no failure":      {{'r', s, "a", true, 0}, {'l', f, "a", true, 0}},
		"with and without domain":      {{'r', s, "Alice@example.com", true, 0}, {'l', s, "alice", false, 1}},
		"too late":                     {{'r', f, "a", true, 0}, {'l', f, "a", true, 3 * toldFor / time.Second}},
		"late, in the next generation": {{'r', f, "a", true, 300}, {'r', f, "b", true, 650}, {'l', f, "a", false, 700}, {'l', f, "b", false, 700}},
		"other kinds are not logins":   {{'r', policy.Listed, "", true, 0}, {'l', policy.Listed, "", true, 0}, {'r', policy.Listed, "", true, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			told := newTold()
			for i, x := range story {
				e := policy.Event{Time: start.Add(x.at * time.Second), Kind: x.kind, Source: netip.MustParseAddr("203.0.113.7"), User: x.user, Server: "dovecot"}
				tell := told.line
				if x.by == 'r' {
					tell = told.report
				}
				if got := tell(&e); got != x.news {
					t.Errorf("telling %d is news: %t", i, got)
				}
			}
		})
	}
}

// Servers that do not ask Dovecot tell of logins of their own, and a flood of
// sources is bounded.
func TestToldBounds(t *testing.T) {
	told := newTold()
	e := policy.Event{Time: time.Unix(1e9, 0), Kind: policy.AuthFailure, Source: netip.MustParseAddr("203.0.113.7"), Server: "roundcube"}
	told.report(&e)
	if !told.line(&e) {
		t.Error("Roundcube's line is taken for Dovecot's report")
	}
	addr := netip.MustParseAddr("2001:db8::1")
	for range 3 * maxTold {
		addr = addr.Next()
		e.Source = addr
		told.report(&e)
	}
	if n := len(told.young) + len(told.old); n > 2*maxTold {
		t.Errorf("%d are held", n)
	}
}

func TestNilTold(t *testing.T) {
	var none *told
	e := policy.Event{Kind: policy.AuthFailure, Server: "dovecot"}
	if !none.line(&e) || !none.report(&e) {
		t.Error("without a join something is not news")
	}
}

func TestShellWord(t *testing.T) {
	for user, want := range map[string]string{
		"alice@example.com": "alice@example.com", "a b": "-- 'a b'", "$(reboot)": "-- '$(reboot)'", "o'neil": `-- 'o'\''neil'`, "-x": "-- '-x'", "": "-- ''",
	} {
		if got := shellWord(user); got != want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
}
