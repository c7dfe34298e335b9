package agent

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"weir/policy"
)

// Each story is a row of tellings, by report ('r') or by line ('l'); lines that
// are held may be let go ('x').
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
		"report first":                 {{'r', f, "a", true, 0}, {'l', f, "a", false, 1}, {'l', f, "a", false, 2}, {'x', f, "a", false, 2}, {'x', f, "a", true, 3}},
		"held for a report":            {{'r', f, "b", true, 0}, {'l', f, "b", false, 0}, {'l', f, "a", false, 1}, {'r', f, "a", true, 1}, {'x', f, "a", false, 9}, {'l', f, "a", false, 9}, {'x', f, "a", true, 10}},
		"let go, and then reported":    {{'r', f, "b", true, 0}, {'l', f, "b", false, 0}, {'l', f, "a", false, 1}, {'x', f, "a", true, 3}, {'r', f, "a", false, 4}},
		"line first":                   {{'l', f, "a", true, 0}, {'r', f, "a", false, 1}, {'r', f, "a", true, 2}},
		"a session's end":              {{'r', f, "a", true, 0}, {'r', f, "b", true, 1}, {'r', f, "c", true, 2}, {'l', f, "c", false, 100}, {'l', f, "c", false, 100}, {'l', f, "c", false, 100}, {'l', f, "c", false, 101}, {'x', f, "c", true, 103}},
		"crossing":                     {{'l', f, "a", true, 0}, {'r', f, "a", false, 0}, {'r', f, "a", true, 1}, {'l', f, "a", false, 1}},
		"successes of two users":       {{'r', s, "a", true, 0}, {'l', s, "b", false, 1}, {'l', s, "a", false, 1}, {'r', s, "b", true, 2}, {'x', s, "b", false, 9}},
		"a success is no failure":      {{'r', s, "a", true, 0}, {'l', f, "a", false, 0}, {'x', f, "a", true, 1}},
		"with and without domain":      {{'r', s, "Alice@example.com", true, 0}, {'l', s, "alice", false, 1}},
		"too late":                     {{'r', f, "a", true, 0}, {'l', f, "a", true, 3 * toldFor / time.Second}},
		"late, in the next generation": {{'r', f, "a", true, 300}, {'r', f, "b", true, 650}, {'l', f, "a", false, 700}, {'l', f, "b", false, 700}},
		"other kinds are not logins":   {{'r', policy.Listed, "", true, 0}, {'l', policy.Listed, "", true, 0}, {'r', policy.Listed, "", true, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			told := newTellings()
			for i, x := range story {
				e := policy.Event{Time: start.Add(x.at * time.Second), Kind: x.kind, Source: netip.MustParseAddr("203.0.113.7"), User: x.user, Server: "dovecot"}
				var got bool
				switch x.by {
				case 'r':
					got = told.report(&e, e.Time)
				case 'l':
					got = told.line(&e, nil, e.Time)
				case 'x':
					got = len(told.release(e.Time, false)) > 0
				}
				if got != x.news {
					t.Errorf("telling %d is news: %t", i, got)
				}
			}
		})
	}
}

// Servers that do not ask Dovecot tell of logins of their own, and a flood of
// sources is bounded.
func TestToldBounds(t *testing.T) {
	told := newTellings()
	e := policy.Event{Time: time.Unix(1e9, 0), Kind: policy.AuthFailure, Source: netip.MustParseAddr("203.0.113.7"), Server: "roundcube"}
	told.report(&e, e.Time)
	if !told.line(&e, nil, e.Time) {
		t.Error("Roundcube's line is taken for Dovecot's report")
	}
	addr := netip.MustParseAddr("2001:db8::1")
	for range 3 * maxTold {
		addr = addr.Next()
		e.Source = addr
		told.report(&e, e.Time)
	}
	if n := len(told.young) + len(told.old); n > 2*maxTold {
		t.Errorf("%d are held", n)
	}
	e.Server = "dovecot"
	for range 2 * maxHeld {
		addr = addr.Next()
		e.Source = addr
		told.line(&e, nil, e.Time)
	}
	if n := len(told.held); n != maxHeld {
		t.Errorf("%d lines are held", n)
	}
	if n := len(told.release(e.Time, true)); n != maxHeld {
		t.Errorf("%d lines were let go", n)
	}
}

func TestNilTold(t *testing.T) {
	var none *tellings
	e := policy.Event{Kind: policy.AuthFailure, Server: "dovecot"}
	if !none.line(&e, nil, e.Time) || !none.report(&e, e.Time) || none.release(e.Time, true) != nil {
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

// Every story goes on after a restart as if there had been none.
func TestToldSurvivesRestart(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	whole, stopped := newTellings(), newTellings()
	random := rand.New(rand.NewPCG(7, 8))
	joined := 0
	for i := range 5000 {
		at = at.Add(time.Duration(random.IntN(20)) * time.Second)
		e := policy.Event{Time: at, Kind: policy.AuthFailure, Server: "dovecot", Source: netip.AddrFrom4([4]byte{203, 0, 113, byte(random.IntN(9))})}
		if random.IntN(3) == 0 {
			e.Source = netip.MustParseAddr("2001:db8::1")
			e.Kind, e.User = policy.AuthSuccess, string(rune('a'+random.IntN(5)))
		}
		report := random.IntN(2) == 0
		tell := func(t *tellings) bool {
			if report {
				return t.report(&e, at)
			}
			return t.line(&e, nil, at)
		}
		a, b := tell(whole), tell(stopped)
		if a != b {
			t.Fatalf("%d: news %t, after restarts %t", i, a, b)
		}
		if !a {
			joined++
		}
		if i%50 == 0 { // a checkpoint lets go of what is held
			whole.release(at, true)
			stopped.release(at, true)
			saved, err := stopped.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			stopped = newTellings()
			if err := stopped.UnmarshalBinary(saved); err != nil {
				t.Fatal(err)
			}
			for n := range saved {
				if err := newTellings().UnmarshalBinary(saved[:n]); err == nil {
					t.Fatalf("cut to %d of %d bytes it is read", n, len(saved))
				}
			}
		}
	}
	if joined < 100 {
		t.Errorf("only %d tellings were joined", joined)
	}
}

// A state that a stranger has written is refused or taken, and never breaks
// anything.
func FuzzTellings(f *testing.F) {
	told := newTellings()
	e := policy.Event{Time: time.Unix(1e9, 0), Kind: policy.AuthSuccess, User: "alice", Source: netip.MustParseAddr("203.0.113.7"), Server: "dovecot"}
	told.report(&e, e.Time)
	saved, err := told.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(saved)
	f.Fuzz(func(t *testing.T, data []byte) {
		told := newTellings()
		if told.UnmarshalBinary(data) != nil {
			return
		}
		e := policy.Event{Time: time.Unix(1e9, 0), Kind: policy.AuthSuccess, User: "alice", Source: netip.MustParseAddr("203.0.113.7"), Server: "dovecot"}
		told.line(&e, nil, e.Time)
		if _, err := told.MarshalBinary(); err != nil {
			t.Error(err)
		}
	})
}
