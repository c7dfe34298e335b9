package loader

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// checkMarks holds a family's set to what its tables say.
func checkMarks[K source](t *testing.T, s *sources[K]) {
	t.Helper()
	m, want := s.marks, map[name]int{}
	soonest := map[K]uint64{}
	for end, keys := range s.calendar.keys {
		for _, k := range keys {
			if old, known := soonest[k]; !known || end < old {
				soonest[k] = end
			}
		}
	}
	for row, err := range s.all() {
		mustDo(t, err)
		n, end := s.nameOf(row.key), uint64(row.value.word()>>endFrom)
		if n.mark == 0 {
			continue
		}
		want[n]++
		at, free := m.find(n)
		left := m.leftAt(n)
		if (at < 0) == (left < 0) || left >= 0 && free >= 0 && m.drops(n) {
			t.Errorf("%s: %v has a mark and has none, or has none though there is room", s.name, row.key)
		}
		dropped := row.value.Action == datapathAction(ActionDrop)
		if said := m.drops(n); said && (!dropped || end != 0 && (soonest[row.key] == 0 || soonest[row.key] > end)) {
			t.Errorf("%s: the set says that %v is dropped, the table %+v, the calendar %d", s.name, row.key, *row.value, soonest[row.key])
		} else if !said && dropped && m.shared[n] == 0 && (end == 0 || end > s.calendar.gone) {
			t.Errorf("%s: the set does not say that %v is dropped", s.name, row.key)
		}
	}
	there := 0
	for group := range m.form.homes / homes {
		there += len(m.group(group)) + len(m.left[group])
		if m.hasUnmarked(group) != (len(m.left[group]) > 0) {
			t.Errorf("%s: group %d is said to have unmarked ones: %t; they are %x", s.name, group, m.hasUnmarked(group), m.left[group])
		}
	}
	if there != len(want) {
		t.Errorf("%s: %d marks of %d", s.name, there, len(want))
	}
	if until := m.belief.words[0] >> endShift; until > s.calendar.first() {
		t.Errorf("%s: believed until %d, though a drop ends at %d", s.name, until, s.calendar.first())
	}
}

// useUp has each processor count no more packets of this tick one by one.
func (s *simulation) useUp(flagged []byte) {
	s.t.Helper()
	_, err := s.objects.WeirXdp.Run(&ebpf.RunOptions{Data: flagged, Repeat: 200})
	mustDo(s.t, err)
}

// In a flood, which the set answers: whatever comes and goes, moves in the set
// or ends, whoever opens the tables again, and whether somebody looks after what
// ends or not, the program does what a plain map says.
func TestFloodModel(t *testing.T) {
	o := testOptions(t)
	s := mustSimulate(t, o)
	flagged := prefix("192.0.2.1/32")
	mustDo(t, s.Put(Entry{Prefix: flagged, Action: ActionDrop}))
	rng := rand.New(rand.NewPCG(5, 9))
	candidates := crowded(s.Datapath, 60)
	model := map[netip.Prefix]Entry{}
	full, alive := 0, true
	for step := range steps(3000) {
		p := candidates[rng.IntN(len(candidates))]
		switch rng.IntN(16) {
		case 0, 1, 2, 3, 4:
			e := Entry{Prefix: p, Action: []Action{ActionDrop, ActionDrop, ActionDrop, ActionAllow, ActionLimit, ActionTarpit}[rng.IntN(6)]}
			if e.Action == ActionLimit {
				e.Every, e.Burst = time.Second, 1<<20
			}
			if rng.IntN(2) == 0 {
				e.Expires = s.wall().Add(time.Duration(rng.IntN(30_000)) * time.Millisecond)
			}
			mustDo(t, s.Put(e))
			model[p] = e
		case 5:
			mustDo(t, s.Delete(p))
			delete(model, p)
		case 6:
			s.advance(time.Duration(rng.IntN(4000)) * time.Millisecond)
			if alive {
				mustDo(t, s.settle())
			}
		case 7:
			switch rng.IntN(20) {
			case 0:
				alive = !alive
			case 1:
				mustDo(t, s.Close())
				s.open(o)
			}
		}
		s.useUp(synFrom(flagged))
		for range 4 {
			p := candidates[rng.IntN(len(candidates))]
			e, known := model[p]
			if late := s.wall().Sub(e.Expires); known && !e.Expires.IsZero() && late > -time.Millisecond {
				if late < endUnit+time.Millisecond {
					continue // just ending
				}
				known = false
			}
			want := uint32(xdpPass)
			if known && e.Action.Blocks() {
				want = xdpDrop
			}
			if verdict := run(t, s.Datapath, synFrom(p)); verdict != want {
				t.Fatalf("step %d: %s: verdict %d, want %d (%+v, %t)", step, p, verdict, want, e, known)
			}
		}
		full += len(s.marks4.left) + len(s.marks6.left)
		if step%100 == 0 {
			checkSources(t, s.sources4)
			checkSources(t, s.sources6)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	if full == 0 {
		t.Error("no group was ever full")
	}
}

// A set that somebody left at any point of its work, or that says anything at
// all, says what it should once it is taken over.
func TestSetIsPutRight(t *testing.T) {
	o := testOptions(t)
	s := mustSimulate(t, o)
	candidates := crowded(s.Datapath, 60)
	for i, p := range candidates {
		if i%4 > 0 {
			mustDo(t, s.Put(Entry{Prefix: p, Action: []Action{ActionDrop, ActionDrop, ActionAllow}[i/4%3]}))
		}
	}
	rng := rand.New(rand.NewPCG(2, 3))
	for range steps(20) {
		for _, m := range []*marks{s.marks4, s.marks6} {
			for range 10 {
				from, to := rng.IntN(groupPlaces), rng.IntN(2*groupPlaces)
				m.set(to, []uint64{0, m.at(from), m.at(from), rng.Uint64() & m.form.bits()}[rng.IntN(4)])
			}
			m.unmarked[0] = rng.Uint64() & 3
		}
		mustDo(t, s.Close())
		s.open(o)
		checkSources(t, s.sources4)
		checkSources(t, s.sources6)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// Two /64s that the set cannot tell apart are asked for in the tables, both,
// for as long as one of them stands.
func TestSharedMark(t *testing.T) {
	m := newMarks(markForm6(1000), 1)
	n := name{5, 1<<30 | 77}
	m.put(n, true, true)
	if !m.drops(n) {
		t.Error("a mark of one source does not drop")
	}
	m.put(n, true, true)
	if m.drops(n) {
		t.Error("a mark of two sources drops")
	}
	m.remove(n)
	if !m.hasUnmarked(n.home/homes) || m.drops(n) {
		t.Error("what is left of two sources is not asked for")
	}
	m.remove(n)
	if at, _ := m.find(n); at >= 0 || m.hasUnmarked(n.home/homes) || len(m.shared) > 0 {
		t.Error("something outlives both sources")
	}
}

// Random sources leave few groups without room, in the largest sets as in small
// ones, and no two addresses share a mark.
func TestSetHoldsRandomSources(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	key := datapathTableKey{Factor4: rng.Uint64() | 1, Factor6: rng.Uint64() | 1, Rest6: rng.Uint64() | 1}
	for _, capacity := range []int{1, 1000, 1 << 18, 1_000_000} {
		for _, f := range []struct {
			v *verdicts
			m *marks
		}{
			{&verdicts{shape: shape4(), factor: key.Factor4}, newMarks(markForm4(capacity), 0)},
			{&verdicts{shape: shape6(), factor: key.Factor6}, newMarks(markForm6(capacity), key.Rest6)},
		} {
			first := rng.Uint64()
			for i := range uint64(capacity) { // one like the other, in every byte order
				n := first + i*3
				if f.v.shape.split {
					n = first + i<<uint(capacity%40)
				}
				f.m.put(f.m.name(f.v.hash(n)), true, true)
			}
			left := 0
			for _, marks := range f.m.left {
				left += len(marks)
			}
			if left > capacity/22 || len(f.m.shared) > 2 || !f.v.shape.split && len(f.m.shared) > 0 {
				t.Errorf("capacity %d, width %d: %d left out, %d shared", capacity, f.m.form.width, left, len(f.m.shared))
			}
		}
	}
}

// A source whose end is put off, time and again, waits in the calendar once.
func TestCalendarStaysShort(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	sources := crowded(s.Datapath, 30)
	for range 200 {
		var all []Entry
		for _, p := range sources {
			all = append(all, Entry{Prefix: p, Action: ActionDrop, Expires: s.wall().Add(time.Minute)})
		}
		mustDo(t, s.Put(all...))
		s.advance(700 * time.Millisecond)
		mustDo(t, s.settle())
	}
	waiting := 0
	for _, keys := range s.sources4.calendar.keys {
		waiting += len(keys)
	}
	if waiting != len(sources)/2 {
		t.Errorf("%d wait for the end of %d", waiting, len(sources)/2)
	}
}
