package policy

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// benchmarkEvents is n events of a busy mail host that make no decision:
// successes, messages and single failures from many sources.
func benchmarkEvents(n, sources, users int) []Event {
	rng := rand.New(rand.NewPCG(1, 2))
	names := make([]string, users)
	for i := range names {
		names[i] = "user" + strconv.Itoa(i) + "@example.org"
	}
	events := make([]Event, n)
	for i := range events {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x0b000000+uint32(rng.IntN(sources)))
		ev := Event{Source: netip.AddrFrom4(b), User: names[rng.IntN(users)], Service: "submission", Server: "postfix", Line: uint64(i)}
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
	for i := range 1 << 20 {
		observe(i)
	}
	decisions = 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		observe(i)
	}
	b.ReportMetric(float64(decisions)/float64(b.N), "decisions/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
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
