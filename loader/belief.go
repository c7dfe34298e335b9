package loader

import (
	"container/heap"
	"math"
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// belief tells the kernel program what to believe of a set: see abi.h.
type belief struct {
	mapped []byte
	words  []uint64 // until_ns, moves
}

func mapBelief(m *ebpf.Map) (*belief, error) {
	mapped, err := mapArray(m)
	if err != nil {
		return nil, err
	}
	return &belief{mapped, wordsOf(mapped, 2)}, nil
}

func (b *belief) close() error {
	if b == nil {
		return nil
	}
	mapped := b.mapped
	b.mapped, b.words = nil, nil
	return unmap(mapped)
}

// moved counts a mark that stands in two places, before it leaves one.
func (b *belief) moved() {
	if b != nil {
		atomic.AddUint64(&b.words[1], 1)
	}
}

// until has drops believed until an end, in units of endUnit.
func (b *belief) until(end uint64) {
	if b == nil {
		return
	}
	ns := uint64(math.MaxUint64)
	if end < ns>>endShift {
		ns = end << endShift
	}
	if atomic.LoadUint64(&b.words[0]) != ns {
		atomic.StoreUint64(&b.words[0], ns)
	}
}

// atMost has drops believed no longer than until an end.
func (b *belief) atMost(end uint64) {
	if b != nil && end < atomic.LoadUint64(&b.words[0])>>endShift {
		b.until(end)
	}
}

// calendar knows when the set's drops end, in units of endUnit, so that they
// are taken out before. What is dropped without end is not in it.
//
// A source stands under an end no later than its own. Whether it still has
// that one is looked up when it comes, so one whose end is put off, time and
// again, is in it once.
type calendar[K comparable] struct {
	keys map[uint64][]K
	ends unitHeap // of keys
	gone uint64   // what ends no later has been taken out
}

func newCalendar[K comparable]() calendar[K] {
	return calendar[K]{keys: make(map[uint64][]K)}
}

func (c *calendar[K]) note(k K, end uint64) {
	list, known := c.keys[end]
	if !known {
		heap.Push(&c.ends, end)
	}
	c.keys[end] = append(list, k)
}

// first is the soonest end.
func (c *calendar[K]) first() uint64 {
	if len(c.ends) == 0 {
		return math.MaxUint64
	}
	return c.ends[0]
}

// take returns at most so many of those under the soonest end, and forgets them.
func (c *calendar[K]) take(most int) []K {
	end := c.first()
	keys := c.keys[end]
	if len(keys) > most {
		c.keys[end] = keys[:len(keys)-most]
		return keys[len(keys)-most:]
	}
	delete(c.keys, end)
	heap.Pop(&c.ends)
	return keys
}

// unitHeap has the soonest on top.
type unitHeap []uint64

func (h unitHeap) Len() int           { return len(h) }
func (h unitHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h unitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *unitHeap) Push(x any)        { *h = append(*h, x.(uint64)) }
func (h *unitHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// endAhead is how long before its end a drop is taken out of the set: the
// tables know of the rest. It is more than the time between two looks.
const endAhead = 4

// settleSize bounds what is taken out of the set at once.
const settleSize = 1 << 14

// settle takes some of what ends soon out of the set, as of a time of the
// kernel's clock, and has the rest believed for as long as nothing of it ends.
// It reports whether there is more to be taken out.
func (s *sources[K]) settle(now uint64) (more bool, err error) {
	s.calendar.gone = max(s.calendar.gone, now>>endShift+endAhead)
	for left := settleSize; s.calendar.first() <= s.calendar.gone; {
		if left <= 0 {
			return true, nil
		}
		keys := s.calendar.take(left)
		left -= len(keys)
		for _, k := range keys {
			if err := s.lookAgain(k); err != nil {
				return false, err
			}
		}
	}
	s.marks.belief.until(s.calendar.first())
	return false, nil
}

// lookAgain sees to the mark of a source that may end soon.
func (s *sources[K]) lookAgain(k K) error {
	if !s.marks.drops(s.nameOf(k)) {
		return nil
	}
	value, found, err := s.under(k)
	if err != nil || !found {
		return err
	}
	s.mark(k, value.word(), 0, false)
	return nil
}

func (s *sources[K]) nameOf(k K) name { return s.marks.name(s.verdicts.hash(keyOf(k))) }

// mark puts a source that stands in the tables into the set, or tells it what
// is in force now. before is what was in force, if anything is known of it.
func (s *sources[K]) mark(k K, word, before uint32, fresh bool) {
	end, old := uint64(word>>endFrom), uint64(before>>endFrom)
	dropped := s.mayDrop(word)
	noted := isDrop(before) && old > s.calendar.gone && old <= end
	if dropped && end != 0 && !noted {
		s.calendar.note(k, end)
		if s.calendar.first() == end {
			s.marks.belief.until(end)
		}
	}
	hash := s.verdicts.hash(keyOf(k))
	if fresh {
		s.sift(hash)
	}
	s.marks.put(s.marks.name(hash), dropped, fresh)
}

// mayDrop reports whether the set may say of a verdict that it drops.
func (s *sources[K]) mayDrop(word uint32) bool {
	end := uint64(word >> endFrom)
	return isDrop(word) && (end == 0 || end > s.calendar.gone)
}

func isDrop(word uint32) bool { return word&(1<<actionBits-1) == uint32(ActionDrop) }
