package loader

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Many entries at once, some of them of one source, say what they would one by
// one: into an empty table, and over what stands there.
func TestPutManyModel(t *testing.T) {
	o := testOptions(t)
	o.Capacity = 1 << 15
	s := mustSimulate(t, o)
	rng := rand.New(rand.NewPCG(6, 2))
	sources := slices.Collect(func(yield func(netip.Prefix) bool) {
		for _, e := range many(1 << 15) {
			yield(e.Prefix)
		}
	})
	model := map[netip.Prefix]Entry{}
	for round := range 3 {
		var all []Entry
		for range 3 * sortFrom {
			e := Entry{Prefix: sources[rng.IntN(len(sources))], Action: []Action{ActionDrop, ActionAllow, ActionTarpit}[rng.IntN(3)]}
			if rng.IntN(20) == 0 {
				e.Action, e.Every, e.Burst = ActionLimit, time.Second, 1+rng.IntN(9)
			}
			if rng.IntN(2) == 0 {
				e.Expires = s.wall().Add(time.Duration(rng.IntN(60)) * time.Second)
			}
			all = append(all, e)
			model[e.Prefix] = e
		}
		mustDo(t, s.Put(all...))
		got := collect(t, s.Datapath)
		if len(got) != len(model) {
			t.Fatalf("round %d: %d entries, want %d", round, len(got), len(model))
		}
		for p, e := range model {
			if !sameEntry(got[p], e) {
				t.Fatalf("round %d: %+v, want %+v", round, got[p], e)
			}
		}
		checkSources(t, s.sources4)
		checkSources(t, s.sources6)
		s.advance(10 * time.Second)
		mustDo(t, s.settle())
	}
}
