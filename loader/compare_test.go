package loader

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// What is asked for is answered as Get does, less what was counted, and the rest is
// what was not: of sources in slots, outside and limited, and of prefixes.
func TestCompare(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	if !s.Empty() {
		t.Error("a new table is not empty")
	}
	rng := rand.New(rand.NewPCG(3, 9))
	var entries []Entry
	for i, p := range append(crowded(s.Datapath, 60), prefix("198.51.100.0/24"), prefix("203.0.113.0/25"), prefix("2001:db8::/32"), prefix("2001:db8:7::/48")) {
		e := Entry{Prefix: p, Action: []Action{ActionDrop, ActionAllow, ActionTarpit, ActionLimit}[i%4], Keep: i%3 == 0}
		if e.Action == ActionLimit {
			e.Every, e.Burst = time.Minute, 2
		}
		if rng.IntN(2) == 0 {
			e.Expires = s.wall().Add(time.Duration(1+rng.IntN(5000)) * time.Second)
		}
		entries = append(entries, e)
	}
	there, absent := entries[:110], entries[110:]
	there = append(slices.Clone(there), absent[len(absent)-3:]...) // three of the prefixes
	absent = absent[:len(absent)-3]
	mustDo(t, s.Put(there...))
	if s.Empty() {
		t.Error("a table with entries is empty")
	}
	for range 20 {
		var asked []Entry
		left := map[netip.Prefix]bool{}
		for i := range there {
			if rng.IntN(3) > 0 {
				asked = append(asked, there[i])
			} else {
				left[there[i].Prefix] = true
			}
		}
		asked = append(asked, absent...)
		rng.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
		size := 1 + rng.IntN(len(asked))
		at := 0
		rest, err := s.Compare(slices.Chunk(asked, size), func(have []Entry) {
			for i := range have {
				want, found := must2(s.Get(asked[at].Prefix))
				want.Attempts, want.Dropped = have[i].Attempts, have[i].Dropped
				if found != (have[i].Action != 0) || have[i] != want {
					t.Errorf("%s: answered %+v, there is %+v", asked[at].Prefix, have[i], want)
				}
				at++
			}
		})
		mustDo(t, err)
		if at != len(asked) {
			t.Errorf("%d answers, asked for %d", at, len(asked))
		}
		for e, err := range rest {
			mustDo(t, err)
			if want, _ := must2(s.Get(e.Prefix)); !left[e.Prefix] || e != want {
				t.Errorf("the rest has %+v, left are %t %+v", e, left[e.Prefix], want)
			}
			delete(left, e.Prefix)
		}
		if len(left) > 0 {
			t.Errorf("the rest lacks %v", left)
		}
	}
	if _, err := s.Compare(slices.Values([][]Entry{{{}}}), func([]Entry) { t.Error("answered") }); !errors.Is(err, ErrInvalidEntry) {
		t.Errorf("what is no prefix: %v", err)
	}
	mustDo(t, s.Close())
	if _, err := s.Compare(slices.Values([][]Entry{there}), func([]Entry) { t.Error("answered") }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func must2[T, U any](value T, more U, err error) (T, U) {
	if err != nil {
		panic(err)
	}
	return value, more
}
