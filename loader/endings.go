package loader

import (
	"container/heap"
	"iter"
	"math"
)

// endings finds, in a table without room, what ends first and need not be
// kept. It holds the sooner part of all ends, in a heap, and is made by
// reading the table when it is first asked, and again when it has run out: so
// a table that has room pays nothing.
//
// What is put meanwhile is noted. An item may have been overtaken by a later
// put or a deletion, so each is looked up before it is believed.
type endings[K comparable] struct {
	items   endHeap[K]
	horizon uint64 // everything that ends before it is among the items; 0: not made yet
}

// ending is when an entry ends, in units of endUnit, which is what a verdict
// keeps of it.
type ending[K comparable] struct {
	end uint64
	key K
}

// rows are what endings reads.
type rows[K comparable] interface {
	all() iter.Seq2[tableRow[K], error]
	under(K) (datapathEntry, bool, error)
}

// mostEndings bounds the items that one reading of a table gives.
const mostEndings = 1 << 14

func endOf(e *datapathEntry) uint64 {
	if e.ExpiresNs == 0 || e.Keep != 0 {
		return math.MaxUint64
	}
	return (e.ExpiresNs + 1<<endShift - 1) >> endShift
}

// known reports whether what is put has to be noted.
func (l *endings[K]) known() bool { return l.horizon != 0 }

// note tells of an entry that is being put.
func (l *endings[K]) note(k K, e *datapathEntry) {
	if end := endOf(e); end < l.horizon {
		heap.Push(&l.items, ending[K]{end, k})
	}
	if len(l.items) > 2*mostEndings { // nobody asks any more
		*l = endings[K]{}
	}
}

// first returns what ends before all others and before e, if there is any.
func (l *endings[K]) first(t rows[K], e *datapathEntry) (k K, found bool, err error) {
	for range 2 {
		for len(l.items) > 0 {
			item := l.items[0]
			if item.end >= endOf(e) {
				return k, false, nil
			}
			heap.Pop(&l.items)
			held, stands, err := t.under(item.key)
			if err != nil {
				return k, false, err
			}
			if stands && endOf(&held) == item.end {
				return item.key, true, nil
			}
		}
		if l.horizon != 0 && endOf(e) <= l.horizon {
			break // whatever else there is ends later
		}
		if err := l.read(t); err != nil {
			return k, false, err
		}
	}
	return k, false, nil
}

// read takes the ends that come first out of a table.
func (l *endings[K]) read(t rows[K]) error {
	l.items, l.horizon = nil, math.MaxUint64
	var latest latestHeap[K]
	for row, err := range t.all() {
		if err != nil {
			return err
		}
		end := endOf(row.value)
		if end >= l.horizon {
			continue
		}
		heap.Push(&latest, ending[K]{end, row.key})
		if len(latest.endHeap) > mostEndings {
			l.horizon = heap.Pop(&latest).(ending[K]).end
		}
	}
	l.items = latest.endHeap
	heap.Init(&l.items)
	return nil
}

// endHeap has what ends first on top, latestHeap what ends last.
type endHeap[K comparable] []ending[K]

func (h endHeap[K]) Len() int           { return len(h) }
func (h endHeap[K]) Less(i, j int) bool { return h[i].end < h[j].end }
func (h endHeap[K]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *endHeap[K]) Push(x any)        { *h = append(*h, x.(ending[K])) }
func (h *endHeap[K]) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

type latestHeap[K comparable] struct{ endHeap[K] }

func (h latestHeap[K]) Less(i, j int) bool { return h.endHeap[i].end > h.endHeap[j].end }
