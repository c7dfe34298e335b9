package loader

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// thread is one of several that work on the same tables at once. Each has
// sources of its own, which share their buckets with the others': what stands
// for them it alone decides, whoever else moves them between slot and hash.
type thread struct {
	s          *simulation
	rng        *rand.Rand
	candidates []netip.Prefix
	model      map[netip.Prefix]Entry
}

func newThreads(s *simulation, n int, candidates []netip.Prefix) (all []*thread) {
	for i := range n {
		all = append(all, &thread{s: s, rng: rand.New(rand.NewPCG(11, uint64(i))), model: make(map[netip.Prefix]Entry)})
	}
	for i, p := range candidates {
		all[i%n].candidates = append(all[i%n].candidates, p)
	}
	return all
}

// eachOf runs do on all threads at once and waits for them.
func eachOf(threads []*thread, do func(*thread) error) error {
	var done sync.WaitGroup
	errs := make([]error, len(threads))
	for i, th := range threads {
		done.Go(func() { errs[i] = do(th) })
	}
	done.Wait()
	return errors.Join(errs...)
}

// entry makes one for p that says anything.
func (th *thread) entry(p netip.Prefix) Entry {
	e := Entry{Prefix: p, Action: []Action{ActionDrop, ActionDrop, ActionAllow, ActionLimit, ActionTarpit}[th.rng.IntN(5)]}
	if e.Action == ActionLimit {
		e.Every, e.Burst = time.Hour, 1<<10
	}
	if th.rng.IntN(2) == 0 {
		e.Expires = th.s.wall().Add(time.Duration(1+th.rng.IntN(20)) * time.Second)
	}
	return e
}

func (th *thread) pick() netip.Prefix { return th.candidates[th.rng.IntN(len(th.candidates))] }

func dataFrom(p netip.Prefix) []byte {
	if p.Addr().Is4() {
		return data4(p.Addr().String())
	}
	return data6(p.Addr().Next().String())
}

// look holds what the tables and the program say of p to the model. Both
// tables' widest prefix is dropped: an opening passes only where an entry lets
// it, data only where none stops it.
func (th *thread) look(p netip.Prefix) error {
	e, known := th.model[p]
	got, found, err := th.s.Get(p)
	e.Attempts, e.Dropped = got.Attempts, got.Dropped
	if err != nil || found != known || known && !sameEntry(got, e) {
		return fmt.Errorf("Get of %s says %+v, %t, %v, want %+v", p, got, found, err, e)
	}
	if late := th.s.wall().Sub(e.Expires); known && !e.Expires.IsZero() && late > -time.Millisecond {
		if late < endUnit+time.Millisecond {
			return nil // just ending
		}
		known = false
	}
	opening, data := uint32(xdpDrop), uint32(xdpPass)
	switch {
	case known && e.Action.Blocks():
		data = xdpDrop
	case known:
		opening = xdpPass
	}
	if a, b := run(th.s.t, th.s.Datapath, synFrom(p)), run(th.s.t, th.s.Datapath, dataFrom(p)); a != opening || b != data {
		return fmt.Errorf("%s: verdicts %d and %d, want %d and %d (%+v)", p, a, b, opening, data, e)
	}
	return nil
}

// work puts, deletes and looks.
func (th *thread) work() error {
	for range 60 {
		switch th.rng.IntN(5) {
		case 0, 1: // some at once
			var entries []Entry
			for range 1 + th.rng.IntN(4) {
				e := th.entry(th.pick())
				entries = append(entries, e)
				th.model[e.Prefix] = e
			}
			if err := th.s.Put(entries...); err != nil {
				return err
			}
		case 2:
			p := th.pick()
			if err := th.s.Delete(p); err != nil {
				return err
			}
			delete(th.model, p)
		}
		if err := th.look(th.pick()); err != nil {
			return err
		}
	}
	return nil
}

// Threads that put, delete and look up at once, while entries end and sources
// move between slots and hash: each finds for its own sources what it put, and
// all together what all of them did.
func TestSourcesModelOfThreads(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	threads := newThreads(s, 4, crowded(s.Datapath, 40))
	mustDo(t, s.Put(Entry{Prefix: prefix("0.0.0.0/0"), Action: ActionDrop}, Entry{Prefix: prefix("::/0"), Action: ActionDrop}))
	for round := range 50 {
		if err := eachOf(threads, (*thread).work); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s.advance(time.Duration(threads[0].rng.IntN(3000)) * time.Millisecond)
		all := collect(t, s.Datapath)
		stand := 2
		for _, th := range threads {
			stand += len(th.model)
			for p, e := range th.model {
				if e.Attempts, e.Dropped = all[p].Attempts, all[p].Dropped; !sameEntry(all[p], e) {
					t.Fatalf("round %d: %+v, want %+v", round, all[p], e)
				}
			}
		}
		if len(all) != stand {
			t.Fatalf("round %d: %d entries, want %d", round, len(all), stand)
		}
		checkSources(t, s.sources4)
		checkSources(t, s.sources6)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// crowd puts and deletes one by one in tables that have no room for all. What
// is kept and has found room stays.
func (th *thread) crowd() error {
	for range 150 {
		p := th.pick()
		if th.rng.IntN(6) == 0 {
			if err := th.s.Delete(p); err != nil {
				return err
			}
			delete(th.model, p)
			continue
		}
		e := th.entry(p)
		e.Keep = th.rng.IntN(8) == 0
		if err := th.s.Put(e); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
		if _, found, err := th.s.Get(p); err != nil {
			return err
		} else if delete(th.model, p); found || !e.Keep {
			th.model[p] = e
		}
	}
	return nil
}

// The same in tables that are full: never more than there is room for, nothing
// that was not put, nobody displaced who is to be kept.
func TestFullSourcesOfThreads(t *testing.T) {
	o := testOptions(t)
	o.Capacity = 30
	s := mustSimulate(t, o)
	threads := newThreads(s, 4, crowded(s.Datapath, 60))
	for round := range 30 {
		if err := eachOf(threads, (*thread).crowd); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		all := collect(t, s.Datapath)
		stand := 0
		for _, th := range threads {
			for p, e := range th.model {
				got, found := all[p]
				if found {
					stand++
				}
				if e.Attempts, e.Dropped = got.Attempts, got.Dropped; found && !sameEntry(got, e) {
					t.Errorf("round %d: %+v, want %+v", round, got, e)
				}
				if !found && e.Keep {
					t.Errorf("round %d: %+v was displaced", round, e)
				}
			}
		}
		if stand != len(all) {
			t.Errorf("round %d: %d entries, of which threads know %d", round, len(all), stand)
		}
		for _, table := range []string{"IPv4 sources", "IPv6 sources"} {
			if f := fillOf(s.Datapath, table); f.Used > o.Capacity {
				t.Errorf("round %d: %+v", round, f)
			}
		}
		checkSources(t, s.sources4)
		checkSources(t, s.sources6)
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, table := range []string{"IPv4 sources", "IPv6 sources"} {
		if f := fillOf(s.Datapath, table); f.Displaced == 0 || f.Refused == 0 {
			t.Errorf("never full: %+v", f)
		}
	}
}
