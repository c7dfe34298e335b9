package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// tight is limits that random streams overflow all the time.
func tight() Limits { return Limits{Sources: 16, Users: 16, Observations: 256} }

// crowd is a stream of many sources and users, for tight limits.
func crowd(rng *rand.Rand, n int) []Event {
	events := randomEvents(rng, n)
	for i := range events {
		if rng.IntN(2) == 0 {
			events[i].Source = netip.AddrFrom4([4]byte{198, 51, 100, byte(rng.IntN(60))})
		}
		if rng.IntN(3) == 0 {
			events[i].User = "crowd" + strconv.Itoa(rng.IntN(60))
		}
	}
	return events
}

func observeAll(e *Engine, events []Event) []Decision {
	var out []Decision
	for i := range events {
		out = e.Observe(&events[i], out)
	}
	return out
}

// snapshot is one in a single part.
func snapshot(e *Engine) []byte { return slices.Concat(e.Snapshot()...) }

// checkIntact holds an engine to what its parts say of each other.
func checkIntact(t *testing.T, e *Engine) {
	t.Helper()
	held, blocks, users := 0, 0, 0
	side := func(s *side, tl *tally, n uint32) {
		if tl.number != n || (*s.notes.at(n)&noteHolds != 0) != (tl.block != 0) {
			t.Fatalf("entry %d has number %d, block %d and notes %b", n, tl.number, tl.block, *s.notes.at(n))
		}
		if tl.block == 0 {
			return
		}
		blocks++
		for i := range s.windows(tl.block) {
			n, recipients, last := uint32(0), uint32(0), int64(0)
			w := s.windows(tl.block)[i]
			for j := w.first; j != 0; j = e.seen.at(j).next {
				o := e.seen.at(j)
				if o.at < last {
					t.Fatal("a window is out of order")
				}
				n, recipients, last = n+1, recipients+o.amount, o.at
			}
			if n != w.length || recipients != w.amount || n > 0 && last != w.newest {
				t.Fatalf("window %+v holds %d observations, %d recipients until %d", w, n, recipients, last)
			}
			held += int(n)
		}
	}
	for n := uint32(1); n <= e.sources.len(); n++ {
		side(&e.bySource, &e.sources.at(n).tally, n)
	}
	for n := uint32(1); n <= e.users.len(); n++ {
		side(&e.byUser, &e.users.at(n).tally, n)
		if e.names.slots.at(e.users.at(n).name).user == n {
			users++
		}
	}
	stats := e.Stats()
	switch {
	case stats.Sources > e.limits.Sources || stats.Users > e.limits.Users || stats.Observations > e.limits.Observations:
		t.Fatalf("%+v is beyond %+v", stats, e.limits)
	case held != e.seen.used || held != e.bySource.held+e.byUser.held:
		t.Fatalf("%d observations held, %d taken", held, e.seen.used)
	case blocks != e.bySource.taken.used+e.byUser.taken.used:
		t.Fatalf("%d blocks held, %d taken", blocks, e.bySource.taken.used+e.byUser.taken.used)
	case users != int(e.users.len()) || e.index.used != int(e.sources.len()):
		t.Fatal("an entry cannot be found")
	case e.names.index.used != e.names.slots.used || e.names.slots.used > held+users:
		t.Fatalf("%d names for %d observations and %d users", e.names.slots.used, held, users)
	}
}

func TestEngineIsDeterministicAndBounded(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		rules, events := randomRules(rng), crowd(rng, 3000)
		e := mustEngine(t, rules, tight())
		first := observeAll(e, events)
		checkIntact(t, e)
		if second := observeAll(mustEngine(t, rules, tight()), events); !reflect.DeepEqual(first, second) {
			t.Fatalf("seed %d: the same input decides differently", seed)
		}
	}
}

func TestSetRulesKeepsWhatDidNotChange(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 5))
		rules, events := randomRules(rng), crowd(rng, 1500)
		limits := wide()
		if seed%2 == 0 {
			limits = tight()
		}
		want := observeAll(mustEngine(t, rules, limits), events)
		e := mustEngine(t, rules, limits)
		var got []Decision
		for i := range events {
			if rng.IntN(50) == 0 {
				mustSetRules(t, e, rules)
				checkIntact(t, e)
			}
			got = e.Observe(&events[i], got)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: setting the same rules changes decisions", seed)
		}
		mustSetRules(t, e, rules[:len(rules)/2])
		checkIntact(t, e)
		mustSetRules(t, e, randomRules(rng))
		checkIntact(t, e)
		observeAll(e, events)
		checkIntact(t, e)
	}
}

func mustSetRules(t *testing.T, e *Engine, rules []Rule) {
	t.Helper()
	if err := e.SetRules(rules); err != nil {
		t.Fatal(err)
	}
}

func TestSetRulesRefusesAndKeeps(t *testing.T) {
	e := mustEngine(t, DefaultRules(), DefaultLimits())
	var bad *RuleError
	if err := e.SetRules([]Rule{{Name: "x"}}); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
	if len(e.Rules()) != len(DefaultRules()) {
		t.Error("rules are gone")
	}
}

// story feeds an engine with events that stand minutes after a fixed time.
type story struct {
	t   *testing.T
	e   *Engine
	out []Decision
	n   uint64
}

func newStory(t *testing.T, rules ...Rule) *story {
	return &story{t: t, e: mustEngine(t, rules, DefaultLimits())}
}

var dawn = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// tell observes an event and returns the decisions that follow from it.
func (s *story) tell(after time.Duration, kind Kind, source, user string, recipients int) []Decision {
	s.n++
	before := len(s.out)
	s.out = s.e.Observe(&Event{Time: dawn.Add(after), Kind: kind, Source: netip.MustParseAddr(source), User: user,
		Service: "submission", Server: "postfix", Recipients: recipients, Line: s.n}, s.out)
	return s.out[before:]
}

func TestDecisionsSpeak(t *testing.T) {
	rule := Rule{Name: "failures-per-source", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents,
		Threshold: 12, Within: 10 * time.Minute, Action: Drop, For: time.Hour, Escalate: 2, Cap: 3 * time.Hour}
	s := newStory(t, rule)
	attack := func(at time.Duration) {
		for i := range 12 {
			s.tell(at+time.Duration(i)*500/11*time.Second, AuthFailure, "203.0.113.5", fmt.Sprintf("user%d", i%7), 0)
		}
	}
	want := []struct {
		reason string
		lasts  time.Duration
	}{
		{"12 failed logins in 8m20s from 203.0.113.5, 7 different users", time.Hour},
		{"12 failed logins in 8m20s from 203.0.113.5, 7 different users", 2 * time.Hour},
		{"12 failed logins in 8m20s from 203.0.113.5, 7 different users", 3 * time.Hour},
	}
	for i, w := range want {
		attack(time.Duration(i) * 5 * time.Hour)
		if len(s.out) != i+1 {
			t.Fatalf("%d decisions", len(s.out))
		}
		d := s.out[i]
		if d.Reason != w.reason || d.Until.Sub(d.Since) != w.lasts || d.Offence != i+1 {
			t.Errorf("got  %s for %s\nwant %s for %s", d.Reason, d.Until.Sub(d.Since), w.reason, w.lasts)
		}
	}
	d := s.out[0]
	if d.Evidence.Count != 12 || d.Evidence.FirstLine != 1 || d.Evidence.LastLine != 12 || len(d.Evidence.Sample) != 10 {
		t.Errorf("evidence %+v", d.Evidence)
	}
	first := Observation{Time: dawn, Kind: AuthFailure, Source: netip.MustParseAddr("203.0.113.5"), User: "user0", Service: "submission", Server: "postfix", Line: 1}
	if d.Evidence.Sample[0] != first {
		t.Errorf("sample begins with %+v", d.Evidence.Sample[0])
	}
	s.e.Release(Target{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, dawn)
	attack(10*time.Hour + 15*time.Minute)
	if len(s.out) != 3 {
		t.Errorf("judged for as much as before within the grace of a release")
	}
	attack(16*time.Hour + 30*time.Minute)
	if d := s.out[len(s.out)-1]; len(s.out) != 4 || d.Offence != 1 {
		t.Errorf("after a release: %d decisions, offence %d", len(s.out), d.Offence)
	}
}

// A log that is read again after a start brings back what the operator has
// released meanwhile; the engine's own time is behind then.
func TestReleaseHoldsForWhatIsReadAgain(t *testing.T) {
	s := newStory(t, Rule{Name: "guessing", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents, Threshold: 3,
		Within: time.Hour, Action: Drop, For: time.Hour})
	const released = 2 * time.Hour
	s.e.Release(Target{Prefix: netip.MustParsePrefix("203.0.113.5/32")}, dawn.Add(released))
	for i := range 100 {
		if d := s.tell(time.Hour+time.Duration(i)*time.Second, AuthFailure, "203.0.113.5", "carol", 0); len(d) != 0 {
			t.Fatalf("failure %d of before the release: %+v", i+1, d)
		}
	}
	for i := range 12 { // four times as many as the rule says
		if d := s.tell(released+time.Duration(i)*time.Second, AuthFailure, "203.0.113.5", "carol", 0); (len(d) != 0) != (i == 11) {
			t.Fatalf("failure %d after it: %+v", i+1, d)
		}
	}
}

// The same for a user, of whom the engine need not know yet.
func TestReleaseOfAUserHoldsForWhatIsReadAgain(t *testing.T) {
	s := newStory(t, Rule{Name: "r", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients, Threshold: 30,
		Within: time.Hour, Action: Drop, For: time.Hour})
	const released = 2 * time.Hour
	s.e.Release(Target{User: "Bob@example.com"}, dawn.Add(released))
	checkIntact(t, s.e)
	for i := range 20 {
		if d := s.tell(time.Hour+time.Duration(i)*time.Second, Message, "203.0.113.5", "bob@example.com", 10); len(d) != 0 {
			t.Fatalf("message %d of before the release: %+v", i+1, d)
		}
	}
	for i := range 12 {
		if d := s.tell(released+time.Duration(i)*time.Second, Message, "203.0.113.5", "bob@example.com", 10); (len(d) != 0) != (i == 11) {
			t.Fatalf("message %d after it: %+v", i+1, d)
		}
	}
}

func TestGuardFlagsStrangersAndSparesHome(t *testing.T) {
	rule := Rule{Name: "recipients-per-user", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients,
		Threshold: 100, Within: time.Hour, SpareKnown: 6 * time.Hour, Action: Drop, For: 2 * time.Hour}
	s := newStory(t, rule)
	s.tell(0, AuthSuccess, "192.0.2.1", "alice", 0)
	s.tell(6*time.Hour, Message, "192.0.2.1", "alice", 90)
	s.tell(7*time.Hour, Message, "203.0.113.1", "alice", 40)
	s.tell(7*time.Hour+time.Minute, Message, "2001:db8::1", "alice", 40)
	got := s.tell(7*time.Hour+2*time.Minute, Message, "203.0.113.1", "alice", 30)
	got = append(got, s.tell(8*time.Hour, Message, "203.0.113.9", "alice", 1)...)
	got = append(got, s.tell(8*time.Hour, Message, "192.0.2.1", "alice", 500)...)
	got = append(got, s.tell(8*time.Hour, Message, "203.0.113.9", "alice", 1)...)
	want := []string{
		"alice guard: 110 recipients in 3 messages in 2m from 2 sources for alice",
		"203.0.113.1 drop: acted for alice, who reached 110 recipients in 3 messages in 2m from 2 sources",
		"2001:db8::/64 drop: acted for alice, who reached 110 recipients in 3 messages in 2m from 2 sources",
		"203.0.113.9 drop: a source that is not familiar to alice: 1 message while the user is guarded until 2026-03-02T17:02:00Z",
	}
	if len(got) != len(want) {
		t.Fatalf("%d decisions, want %d", len(got), len(want))
	}
	for i, d := range got {
		if line := d.Target.String() + " " + d.Action.String() + ": " + d.Reason; line != want[i] {
			t.Errorf("got  %s\nwant %s", line, want[i])
		}
	}
}

func TestReasonsQuoteWhatAttackersWrote(t *testing.T) {
	s := newStory(t, Rule{Name: "r", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents, Threshold: 1,
		Within: time.Minute, Action: Limit, Rate: Rate{Every: time.Second, Burst: 1}, For: time.Minute})
	d := s.tell(0, AuthFailure, "203.0.113.5", "x; rule nonsense\n", 0)
	const want = `1 failed login from 203.0.113.5, all for "x; rule nonsense\n"`
	if len(d) != 1 || d[0].Reason != want || d[0].Rate.Burst != 1 {
		t.Errorf("got %+v", d)
	}
}

func TestNeverJudged(t *testing.T) {
	s := newStory(t, Rule{Name: "r", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents, Threshold: 1,
		Within: time.Minute, Action: Drop, For: time.Minute})
	for _, a := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.9", "0.0.0.0", "::", "224.0.0.5", "ff02::1", "169.254.1.1", "fe80::1%eth0"} {
		if d := s.tell(0, AuthFailure, a, "u", 0); len(d) != 0 {
			t.Errorf("%s is judged", a)
		}
	}
	s.e.Observe(&Event{Kind: AuthFailure, Source: netip.MustParseAddr("203.0.113.5")}, nil)
	s.e.Observe(&Event{Kind: 200, Time: dawn, Source: netip.MustParseAddr("203.0.113.5")}, nil)
	if d := s.tell(0, AuthFailure, "::ffff:203.0.113.5", "u", 0); len(d) != 1 || d[0].Target.String() != "203.0.113.5" {
		t.Errorf("got %v", d)
	}
}

// TestSteadyEventsAllocateNothing also keeps the tables full.
func TestSteadyEventsAllocateNothing(t *testing.T) {
	e := mustEngine(t, DefaultRules(), Limits{Sources: 1000, Users: 500, Observations: 10_000})
	events := benchmarkEvents(1<<16, 4000, 1000)
	at := dawn
	var out []Decision
	i := 0
	step := func() {
		ev := events[i&(1<<16-1)]
		at = at.Add(20 * time.Second)
		ev.Time = at
		i++
		out = e.Observe(&ev, out[:0])
	}
	for range 1 << 17 {
		step()
	}
	decided := 0
	if n := testing.AllocsPerRun(20_000, func() { step(); decided += len(out) }); n > 0 {
		t.Errorf("%v allocations an event, %d decisions", n, decided)
	}
	checkIntact(t, e)
}

// address is an IPv4 address by number.
func address(base string, i int) string {
	a := netip.MustParseAddr(base).As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(i))
	return netip.AddrFrom4(a).String()
}

// A user is one user however the client spells it: a thief gets no quota for
// each spelling.
func TestUsersAreFolded(t *testing.T) {
	s := newStory(t, Rule{Name: "r", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients, Threshold: 30,
		Within: time.Hour, Action: Drop, For: time.Hour})
	for i, name := range []string{"bob@example.com", "Bob@example.com"} {
		if d := s.tell(time.Duration(i)*time.Second, Message, "203.0.113.5", name, 10); len(d) != 0 {
			t.Fatalf("decided too early: %+v", d)
		}
	}
	d := s.tell(3*time.Second, Message, "203.0.113.5", "BOB@EXAMPLE.com", 10)
	if len(d) == 0 || d[0].User != "bob@example.com" {
		t.Errorf("got %+v", d)
	}
	s.e.Release(Target{User: "boB@example.com"}, dawn)
	if d := s.tell(4*time.Second, Message, "203.0.113.6", "bob@example.com", 10); len(d) != 0 {
		t.Errorf("still guarded: %+v", d)
	}
}
