package policy

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// benchmarkEvents is n events of a busy mail host that make no decision:
// successes, messages and failures from many sources, each of one user.
func benchmarkEvents(n, sources, users int) []Event {
	rng := rand.New(rand.NewPCG(1, 2))
	names := make([]string, users)
	for i := range names {
		names[i] = "user" + strconv.Itoa(i) + "@example.org"
	}
	events := make([]Event, n)
	for i := range events {
		var b [4]byte
		user := rng.IntN(users)
		each := max(sources/users, 1)
		binary.BigEndian.PutUint32(b[:], 0x0b000000+uint32(user*each+rng.IntN(each)))
		ev := Event{Source: netip.AddrFrom4(b), User: names[user], Service: "submission", Server: "postfix", Line: uint64(i)}
		switch rng.IntN(4) {
		case 0:
			ev.Kind = AuthFailure
		case 1:
			ev.Kind = Message
			ev.Recipients = 1 + rng.IntN(3)
		default:
			ev.Kind = AuthSuccess
		}
		events[i] = ev
	}
	return events
}

func benchmarkObserve(b *testing.B, sources, users int) {
	events := benchmarkEvents(1<<20, sources, users)
	e := mustEngine(b, DefaultRules(), DefaultLimits())
	at := time.Unix(1_700_000_000, 0)
	var out []Decision
	decisions := 0
	observe := func(i int) {
		ev := &events[i&(1<<20-1)]
		at = at.Add(time.Second)
		ev.Time = at
		out = e.Observe(ev, out[:0])
		decisions += len(out)
	}
	for i := range 4 << 20 {
		observe(i)
	}
	decisions = 0
	b.ReportAllocs()
	before := cpuTime(b)
	i := 0
	for ; b.Loop(); i++ {
		observe(i)
	}
	used := cpuTime(b) - before
	b.ReportMetric(float64(decisions)/float64(i), "decisions/op")
	b.ReportMetric(float64(i)/used.Seconds(), "events/cpu-s")
}

// cpuTime is what this process has used: unlike the clock it tells the
// engine's cost on a machine that does other things too.
func cpuTime(tb testing.TB) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func BenchmarkObserveSmall(b *testing.B) { benchmarkObserve(b, 10_000, 5_000) }

func BenchmarkObserveFull(b *testing.B) { benchmarkObserve(b, 1_000_000, 200_000) }

func mustEngine(tb testing.TB, rules []Rule, limits Limits) *Engine {
	tb.Helper()
	e, err := NewEngine(rules, limits)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func BenchmarkObserveHot(b *testing.B) { benchmarkObserve(b, 200, 100) }

// fullEngine returns an engine with full tables, and what has it judge the next
// Ahead events, that come together.
func fullEngine(b *testing.B) (e *Engine, observe func()) {
	b.Helper()
	events := benchmarkEvents(1<<20, 1_000_000, 200_000)
	e = mustEngine(b, DefaultRules(), DefaultLimits())
	at := time.Unix(1_700_000_000, 0)
	var out []Decision
	next := 0
	observe = func() {
		some := events[next : next+Ahead]
		for i := range some {
			at = at.Add(time.Second)
			some[i].Time = at
		}
		e.Foresee(some)
		for i := range some {
			out = e.Observe(&some[i], out[:0])
		}
		next = (next + Ahead) & (1<<20 - 1)
	}
	for range 4 << 20 / Ahead {
		observe()
	}
	return e, observe
}

// BenchmarkObserveForeseen is BenchmarkObserveFull with events that come together.
func BenchmarkObserveForeseen(b *testing.B) {
	_, observe := fullEngine(b)
	b.ReportAllocs()
	before := cpuTime(b)
	n := 0
	for ; b.Loop(); n += Ahead {
		observe()
	}
	used := cpuTime(b) - before
	b.ReportMetric(float64(n)/used.Seconds(), "events/cpu-s")
}
