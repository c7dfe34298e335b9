package policy

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func sourceN(n int) Source {
	return SourceOf(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}))
}

// Five hundred strangers send as fast as they can; the owner's own source
// wants half of the rate, and gets all it asks for; together they never get
// more than the rate.
func TestThrottleIsFair(t *testing.T) {
	rate := Rate{Every: time.Minute, Burst: 20}
	th := NewThrottle(16)
	owner := SourceOf(netip.MustParseAddr("192.0.2.10"))
	var passed []time.Time
	refused := 0
	for s := range 6 * 3600 {
		now := quotaEpoch.Add(time.Duration(s) * time.Second)
		for n := range 3 {
			if _, ok := th.Ask(now, "u", sourceN((s*3+n)%500), false, 1, rate); ok {
				passed = append(passed, now)
			}
		}
		if s > 3600 && s%150 == 0 { // once in two and a half minutes; its share is one in two
			if _, ok := th.Ask(now, "u", owner, true, 1, rate); ok {
				passed = append(passed, now)
			} else {
				refused++
			}
		}
	}
	if refused > 0 {
		t.Errorf("the owner was told to wait %d times", refused)
	}
	for i := range passed {
		for j := i; j < len(passed); j++ {
			if most := float64(rate.Burst) + float64(passed[j].Sub(passed[i]))/float64(rate.Every) + 1; float64(j-i+1) > most {
				t.Fatalf("%d passed in %v", j-i+1, passed[j].Sub(passed[i]))
			}
		}
	}
	if len(passed) < 6*60*9/10 {
		t.Errorf("only %d passed of 380 that the rate allows", len(passed))
	}
}

// One thief on a single source, as greedy as can be, and the owner on another
// that is not known either: both get something.
func TestThrottleSharesAmongStrangers(t *testing.T) {
	rate := Rate{Every: time.Minute, Burst: 20}
	th := NewThrottle(16)
	got := 0
	for s := range 4 * 3600 {
		now := quotaEpoch.Add(time.Duration(s) * time.Second)
		th.Ask(now, "u", sourceN(1), false, 1, rate)
		if s%240 == 239 {
			if _, ok := th.Ask(now, "u", sourceN(2), false, 1, rate); ok {
				got++
			}
		}
	}
	if got < 58 {
		t.Errorf("the quieter source got %d of 60 through", got)
	}
}

// When it is said to pass, it does, unless somebody else has sent meanwhile.
func TestThrottleTellsWhen(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	th := NewThrottle(16)
	rate := Rate{Every: 10 * time.Second, Burst: 12}
	now := quotaEpoch
	waits := 0
	for range 3000 {
		now = now.Add(time.Duration(random.IntN(20)) * time.Second)
		source, known, n := sourceN(random.IntN(40)), random.IntN(3) == 0, 1+random.IntN(14)
		until, ok := th.Ask(now, "u", source, known, n, rate)
		switch {
		case ok:
		case until.IsZero():
			if known || n <= 9 {
				t.Fatalf("%d recipients never pass (known %t)", n, known)
			}
		default:
			waits++
			if !until.After(now) {
				t.Fatalf("wait until %v, at %v", until, now)
			}
			now = until.Add(time.Microsecond)
			if again, ok := th.Ask(now, "u", source, known, n, rate); !ok {
				t.Fatalf("%d recipients (known %t): at %v they have to wait until %v", n, known, now, again)
			}
		}
	}
	if waits < 300 {
		t.Errorf("only %d had to wait", waits)
	}
}

// However many thieves succeed however often, a source that the user had
// yesterday is not forgotten.
func TestKnownSourcesStay(t *testing.T) {
	k := NewKnownSources(16)
	home := SourceOf(netip.MustParseAddr("192.0.2.10"))
	k.Learn("alice", home, quotaEpoch.Add(-20*time.Hour))
	for n := range 1000 {
		for _, after := range []time.Duration{0, time.Second, time.Minute} {
			k.Learn("alice", sourceN(n), quotaEpoch.Add(time.Duration(n)*time.Second+after))
		}
	}
	if !k.Knows("alice", home, quotaEpoch) || k.Knows("alice", sourceN(999), quotaEpoch.Add(time.Hour)) {
		t.Errorf("known: %+v", k.Of("alice"))
	}
}

func TestFlowFollowsWhatStands(t *testing.T) {
	f := NewFlow(Limits{Users: 100})
	f.Quotas.SetRules(QuotaRules{Each: Quota{Messages: mustSpans(t, "2/1h")}})
	home, thief := SourceOf(netip.MustParseAddr("192.0.2.10")), SourceOf(netip.MustParseAddr("198.51.100.66"))
	f.Known.Learn("alice", home, quotaEpoch.Add(-24*time.Hour))
	f.Known.Learn("alice", thief, quotaEpoch.Add(-time.Hour))
	stand := func(a Action, pinned bool) *Decision {
		d := &Decision{Target: Target{User: "alice"}, Action: a, Pinned: pinned, Since: quotaEpoch, Until: quotaEpoch.Add(time.Hour), Rule: "stolen", Rate: Rate{Every: time.Minute, Burst: 4}}
		f.Stand("alice", d)
		return d
	}
	ask := func(s Source, at time.Duration) FlowAction {
		return f.Ask(quotaEpoch.Add(at), &Mail{User: "alice", Source: s, Recipients: 1}).Action
	}
	want := func(what string, got, want FlowAction) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	stand(Defer, false)
	want("deferred", ask(home, 0), FlowDeferred)
	stand(Guard, false)
	want("guarded, from home", ask(home, 0), FlowPass)
	want("guarded, from a neighbour", ask(SourceOf(netip.MustParseAddr("192.0.77.2")), 0), FlowPass)
	want("guarded, over its quota", ask(home, 0), FlowOver)
	want("guarded, from a thief", ask(thief, 0), FlowStranger)
	stand(Allow, true)
	want("pinned to allow", ask(thief, 0), FlowPass)
	stand(Limit, false)
	want("limited, and over its quota", ask(home, 0), FlowOver)
	stand(Limit, true)
	for range 4 {
		want("pinned to a rate", ask(home, time.Minute), FlowPass)
	}
	want("pinned to a rate, beyond it", ask(home, time.Minute), FlowLimited)
	d := stand(Defer, false)
	d.Rule = QuotaRule
	f.Reset("alice")
	want("a quota's own decision stands, and there is room", ask(home, 2*time.Minute), FlowPass)
	f.StandAgain("alice", d)
	want("the same after a restart", ask(home, 2*time.Minute), FlowDeferred)
	want("and when it has ended", ask(home, time.Hour), FlowPass)
}

// A limited user goes on after a restart as if there had been none, and a
// snapshot of before, which knew of no buckets, is read.
func TestThrottleSurvivesRestart(t *testing.T) {
	limit := &Decision{Action: Limit, Rate: Rate{Every: time.Minute, Burst: 20}, Since: quotaEpoch}
	whole, stopped := NewFlow(Limits{Users: 100}), NewFlow(Limits{Users: 100})
	whole.Stand("u", limit)
	stopped.Stand("u", limit)
	random := rand.New(rand.NewPCG(5, 6))
	now, refused := quotaEpoch, 0
	for i := range 2000 {
		now = now.Add(time.Duration(random.IntN(90)) * time.Second)
		m := Mail{User: "u", Source: sourceN(random.IntN(40)), Recipients: 1 + random.IntN(6)}
		a, b := whole.Ask(now, &m), stopped.Ask(now, &m)
		if a != b {
			t.Fatalf("%d: %+v, after restarts %+v", i, a, b)
		}
		if a.Action == FlowLimited {
			refused++
		}
		if i%20 != 0 {
			continue
		}
		saved, err := stopped.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		stopped = NewFlow(Limits{Users: 100})
		if err := stopped.UnmarshalBinary(saved); err != nil {
			t.Fatal(err)
		}
		stopped.StandAgain("u", limit)
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
	saved, err := whole.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	whole.Stand("u", nil)
	old, err := whole.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	old = slices.Concat(sealed([][]byte{[]byte(flowVersion1), old[len(flowMagic) : len(old)-5]})...) // less the list of limited users and the sum
	if err := stopped.UnmarshalBinary(old); err != nil || len(stopped.throttle.users) != 0 {
		t.Errorf("version 1: %v, %d are limited", err, len(stopped.throttle.users))
	}
	for i := range saved {
		damaged := append([]byte(nil), saved...)
		damaged[i] ^= 0x41
		if err := stopped.UnmarshalBinary(damaged); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
}
