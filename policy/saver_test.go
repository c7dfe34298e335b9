package policy

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestSaverIsOfOneMoment writes engines in steps, between which they judge
// events, forget sources and users to make room, have decisions lifted, and get
// other rules. What comes out is what they were when it began.
func TestSaverIsOfOneMoment(t *testing.T) {
	early := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 11))
		limits := wide()
		if seed%2 == 0 {
			limits = tight()
		}
		early += saveOften(t, rng, randomRules(rng), limits, crowd(rng, 1500))
	}
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 12))
		early += saveOften(t, rng, DefaultRules(), Limits{Sources: 900, Users: 500, Observations: 500}, town(rng, 4000))
	}
	if early < 10_000 {
		t.Errorf("%d entries changed before their turn: nothing was tested", early)
	}
}

// town is what happens in a place whose people are known, when it is attacked.
func town(rng *rand.Rand, n int) (events []Event) {
	tell := func(at time.Duration, kind Kind, source, user string, recipients int) {
		events = append(events, Event{Time: dawn.Add(at), Kind: kind, Source: netip.MustParseAddr(source), User: user, Recipients: recipients, Line: uint64(len(events))})
	}
	for m := range 1000 {
		tell(time.Duration(m)*time.Minute, AuthSuccess, townHome(m%600), townsman(m%600), 0)
	}
	for i := range n {
		at := 1000*time.Minute + time.Duration(i)*10*time.Second
		switch rng.IntN(8) {
		case 0, 1, 2:
			tell(at, AuthFailure, abroad(rng.IntN(400)), townsman(rng.IntN(600)), 0)
		case 3:
			tell(at, Message, abroad(rng.IntN(60)), townsman(rng.IntN(8)), 20)
		case 4:
			tell(at, UnknownRecipient, abroad(rng.IntN(300)), "", 0)
		case 5:
			tell(at, Connection, abroad(rng.IntN(2000)), "", 0)
		case 6:
			tell(at, AuthSuccess, abroad(rng.IntN(400)), townsman(rng.IntN(600)), 0)
		default:
			i := rng.IntN(600)
			tell(at, AuthSuccess, townHome(i), townsman(i), 0)
		}
	}
	return events
}

// saveOften writes an engine now and then while it judges events, and returns
// how many entries were written before their turn.
func saveOften(t *testing.T, rng *rand.Rand, rules []Rule, limits Limits, events []Event) (early int) {
	t.Helper()
	e, alone := mustEngine(t, rules, limits), mustEngine(t, rules, limits)
	var got, want []Decision
	var s *Saver
	var at []byte
	for i := range events {
		switch {
		case s == nil && rng.IntN(100) == 0:
			at, s = snapshot(e), e.Save()
		case s != nil && rng.IntN(500) == 0:
			for _, engine := range []*Engine{e, alone} {
				mustSetRules(t, engine, engine.Rules())
			}
		}
		if rng.IntN(100) == 0 {
			target := Target{User: events[i].User}
			if target.User == "" || rng.IntN(2) == 0 {
				target = Target{Prefix: JudgedPrefix(netip.PrefixFrom(events[i].Source.Unmap(), 16+rng.IntN(17)))}
			}
			e.Release(target, time.Unix(0, 0))
			alone.Release(target, time.Unix(0, 0))
		}
		got, want = e.Observe(&events[i], got), alone.Observe(&events[i], want)
		if s == nil {
			continue
		}
		for j := range s.tables {
			for _, places := range s.tables[j].early.places {
				for _, place := range places {
					early += int(min(place, 1))
				}
			}
		}
		if !s.Step(rng.IntN(2 + int(e.sources.len())/20)) {
			continue
		}
		again := mustEngine(t, rules, limits)
		if err := again.UnmarshalBinary(slices.Concat(s.Parts()...)); err != nil {
			t.Fatal(err)
		}
		checkIntact(t, again)
		if !bytes.Equal(snapshot(again), at) {
			t.Fatalf("event %d: what was written in steps is not what was there when it began", i)
		}
		s = nil
	}
	if s != nil {
		s.GiveUp()
	}
	checkIntact(t, e)
	if !bytes.Equal(snapshot(e), snapshot(alone)) || len(got) != len(want) {
		t.Fatal("writing has changed the engine")
	}
	return early
}

// BenchmarkObserveSaving is BenchmarkObserveForeseen while the state is being
// written: what it costs those who cannot wait. Nothing is written but what changes
// before its turn.
func BenchmarkObserveSaving(b *testing.B) {
	e, observe := fullEngine(b)
	const events = 1 << 19 // a few seconds of a large site
	var used [2]time.Duration
	for b.Loop() {
		for i := range used {
			if i == 1 {
				e.Save()
			}
			before := cpuTime(b)
			for range events / Ahead {
				observe()
			}
			used[i] += cpuTime(b) - before
		}
		e.saver.GiveUp()
	}
	for i, name := range []string{"ns/event", "ns/event-saving"} {
		b.ReportMetric(float64(used[i].Nanoseconds())/float64(b.N)/events, name)
	}
}
