package loader

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// A table without room gives what comes the place of what ends first, if that
// ends sooner and need not be kept; at every step exactly this, also for
// sources that stand outside of their buckets.
func TestFullTableMakesRoom(t *testing.T) {
	o := testOptions(t)
	o.Capacity = 60
	s := mustSimulate(t, o)
	crowd := crowded(s.Datapath, 60)
	var narrow []netip.Prefix
	for i := range 100 {
		narrow = append(narrow, prefix(fmt.Sprintf("10.%d.0.0/16", i)), prefix(fmt.Sprintf("2001:db8:%x::/48", i)))
	}
	for name, candidates := range map[string][]netip.Prefix{"IPv4 sources": append(crowd[:60:60], prefixesOf(many(80), true)...), "IPv6 sources": append(crowd[60:], prefixesOf(many(80), false)...), "IPv4 prefixes": even(narrow, 0), "IPv6 prefixes": even(narrow, 1)} {
		rng := rand.New(rand.NewPCG(5, 5))
		var displaced, refused int
		for step := range 1000 {
			p := candidates[rng.IntN(len(candidates))]
			if rng.IntN(12) == 0 {
				mustDo(t, s.Delete(p))
				continue
			}
			e := Entry{Prefix: p, Action: []Action{ActionDrop, ActionDrop, ActionAllow, ActionLimit}[rng.IntN(4)], Keep: rng.IntN(6) == 0}
			if e.Action == ActionLimit {
				e.Every, e.Burst = time.Hour, 1
			}
			if rng.IntN(8) > 0 {
				e.Expires = s.wall().Add(time.Duration(1+rng.IntN(5000)) * time.Second)
			}
			before := collect(t, s.Datapath)
			for q := range before {
				if tableOf(q) != tableOf(p) {
					delete(before, q)
				}
			}
			err := s.Put(e)
			after := collect(t, s.Datapath)
			for q := range after {
				if tableOf(q) != tableOf(p) {
					delete(after, q)
				}
			}
			_, known := before[p]
			if known || len(before) < o.Capacity {
				before[p] = e
				if err != nil || !maps.EqualFunc(before, after, sameWithoutCounts) {
					for q, b := range before {
						if !sameWithoutCounts(b, after[q]) {
							t.Logf("%+v, want %+v", after[q], b)
						}
					}
					t.Fatalf("%s, step %d: there was room: %v", name, step, err)
				}
				continue
			}
			if !errors.Is(err, ErrFull) {
				t.Fatalf("%s, step %d: full: %v", name, step, err)
			}
			soonest := endsAt(e)
			for _, b := range before {
				soonest = min(soonest, endsAt(b))
			}
			if _, put := after[p]; !put {
				refused++
				if soonest < endsAt(e)-int64(2*endUnit) || !maps.Equal(before, after) {
					t.Fatalf("%s, step %d: %+v was refused, though something ends sooner", name, step, e)
				}
				continue
			}
			displaced++
			var gone []Entry
			for q, b := range before {
				if _, stands := after[q]; !stands {
					gone = append(gone, b)
				}
			}
			if len(gone) != 1 || len(after) != len(before) || endsAt(gone[0]) > soonest+int64(2*endUnit) || endsAt(gone[0]) > endsAt(e) || gone[0].Keep {
				t.Fatalf("%s, step %d: %v made room for %+v", name, step, gone, e)
			}
		}
		f := fillOf(s.Datapath, name)
		if displaced < 50 || refused < 50 || f.Displaced != uint64(displaced) || f.Refused != uint64(refused) {
			t.Errorf("%s: %d displaced, %d refused, counted as %+v", name, displaced, refused, f)
		}
		checkSources(t, s.sources4)
		checkSources(t, s.sources6)
	}
}

func sameWithoutCounts(a, b Entry) bool {
	a.Attempts, a.Dropped, b.Attempts, b.Dropped = 0, 0, 0, 0
	return sameEntry(a, b) || sameEntry(b, a)
}

// endsAt is when e makes room at the earliest.
func endsAt(e Entry) int64 {
	if e.Keep || e.Expires.IsZero() {
		return 1<<63 - 1
	}
	return e.Expires.UnixNano()
}

func prefixesOf(entries []Entry, ipv4 bool) (list []netip.Prefix) {
	for _, e := range entries {
		if e.Prefix.Addr().Is4() == ipv4 {
			list = append(list, e.Prefix)
		}
	}
	return list
}

// even gives every second of a list.
func even(list []netip.Prefix, from int) (half []netip.Prefix) {
	for i := from; i < len(list); i += 2 {
		half = append(half, list[i])
	}
	return half
}
