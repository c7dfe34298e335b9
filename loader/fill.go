package loader

import (
	"errors"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"sync"
)

// row is what a slot needs to know of an entry, small enough for a million to
// be put into the order of their buckets.
type row struct {
	key   uint64
	word  uint32 // its verdict; elsewhere if it is limited
	index uint32 // of the entry
}

// toPut are entries that are to be put, by table.
type toPut struct {
	sources  [2][]row
	prefixes []int
	wide     uint32
}

// toPutOf takes in entries, the first of which has this index, but those that are
// left out, into the memory of what was put before. What is invalid is an error.
func toPutOf(entries []Entry, first int, at moment, leaveOut func(netip.Prefix) bool, before toPut) (toPut, error) {
	sources, prefixes := [2][]row{before.sources[0][:0], before.sources[1][:0]}, before.prefixes[:0]
	var wide uint32
	var errs []error
	for i := range entries {
		e := &entries[i]
		if err := e.validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		if leaveOut(e.Prefix) {
			continue
		}
		which := tableOf(e.Prefix)
		if which == prefixes4 || which == prefixes6 {
			prefixes = append(prefixes, first+i)
			wide |= wideFlags(datapathAction(e.Action), uint64(e.Bytes))
			continue
		}
		one := row{word: elsewhere, index: uint32(first + i)}
		if e.Action != ActionLimit {
			one.word = wordOf(at.toKernel(e.Expires), e.Action, e.Keep)
		}
		if which == sources4 {
			one.key = keyOf(keyOfSource4(e.Prefix))
		} else {
			one.key = keyOf(keyOfSource6(e.Prefix))
		}
		if cap(sources[which]) == 0 {
			sources[which] = make([]row, 0, len(entries)-i)
		}
		sources[which] = append(sources[which], one)
	}
	return toPut{sources, prefixes, wide}, errors.Join(errs...)
}

// take is toPutOf in two halves, of which the first is empty if there are not many.
func take(halves *[2]toPut, entries []Entry, at moment, leaveOut func(netip.Prefix) bool) error {
	middle := len(entries) / 2
	if len(entries) < sortFrom {
		middle = 0
	}
	var errs [2]error
	half := func(i int) {
		from, to := i*middle, middle+i*(len(entries)-middle)
		halves[i], errs[i] = toPutOf(entries[from:to], from, at, leaveOut, halves[i])
	}
	if middle == 0 {
		half(0)
		half(1)
	} else {
		inParallel(half)
	}
	return errors.Join(errs[:]...)
}

const (
	// ahead is how many sources' lines are fetched before the first of them
	// is written.
	ahead = 64

	// nearBuckets is a part of a table that fits into a cache with its marks
	// and counts, and whose pages the processor can remember; sortFrom is how
	// many rows are worth being sorted by such parts.
	nearBuckets = 1 << 9
	sortFrom    = 1 << 12

	// keepRoom is up to how many entries that were put at once the memory for
	// their rows is kept for the next.
	keepRoom = 1 << 14
)

// byBucket returns the rows of both lists in the order of the parts of the table
// that they belong to, and within a part in the order that they had; and where the
// rows of each part end. room is memory that they may take.
func (v *verdicts) byBucket(lists [2][]row, room []row) (sorted []row, ends []int) {
	parts := int(v.buckets/nearBuckets) + 1
	var next [2][]int
	inParallel(func(i int) {
		next[i] = make([]int, parts)
		for _, r := range lists[i] {
			next[i][v.bucket(r.key)/nearBuckets]++
		}
	})
	at := 0
	for part := range parts {
		for i := range next {
			next[i][part], at = at, at+next[i][part]
		}
	}
	if cap(room) < at {
		room = make([]row, at) // which touches none of it, as growing would
	}
	sorted = room[:at]
	inParallel(func(i int) {
		for _, r := range lists[i] {
			part := v.bucket(r.key) / nearBuckets
			sorted[next[i][part]] = r
			next[i][part]++
		}
	})
	return sorted, next[1]
}

// inParallel does the two halves of something.
func inParallel(half func(int)) {
	var first sync.WaitGroup
	first.Go(func() { half(0) })
	half(1)
	first.Wait()
}

// touch has the processor fetch what rows will need, and gives their hashes.
// What it returns means nothing.
func (s *sources[K]) touch(list []row, hashes *[ahead]uint64) (sum uint64) {
	for i := range list {
		hash := s.verdicts.hash(list[i].key)
		hashes[i] = hash
		sum |= s.verdicts.touch(hash) | s.marks.touch(hash)
	}
	return sum
}

// putRows writes the rows of two lists, each over what stands under its key. limit
// gives the entry of one that is limited.
func (s *sources[K]) putRows(lists [2][]row, limit func(index uint32) datapathEntry) error {
	list := lists[1] // the first may have none
	if len(lists[0])+len(lists[1]) >= sortFrom {
		var ends []int
		s.sorted, ends = s.verdicts.byBucket(lists, s.sorted)
		list = s.putNew(s.sorted, ends)
	} else if len(lists[0]) > 0 {
		list = slices.Concat(lists[:]...)
	}
	var hashes [ahead]uint64
	for block := range slices.Chunk(list, ahead) {
		s.touched = s.touch(block, &hashes) // or the compiler might leave all of it out
		for _, r := range block {
			if s.putInSlot(r.key, r.word) {
				continue
			}
			e := entryOf(r.word, s.bits)
			if r.word == elsewhere {
				e = limit(r.index)
			}
			if err := s.put(sourceOf[K](r.key), &e); err != nil {
				return err
			}
		}
	}
	return s.flush()
}

// putNew puts those of sorted rows that are dropped, are new, and need no more than
// a free slot and a free place in the set, and returns the others, in their order. Two
// goroutines each take the parts on one side of a part in the middle, which is
// wider than a group: so they have no bucket and no home in common. That part comes
// after them.
func (s *sources[K]) putNew(list []row, ends []int) []row {
	if s.used+len(list) > s.capacity || s.endings.known() {
		return list
	}
	s.marks.belief.atMost(s.firstEnd(list))
	middle, _ := slices.BinarySearch(ends, len(list)/2)
	begin := 0
	if middle > 0 {
		begin = ends[middle-1]
	}
	sides := [...][]row{list[:begin], list[ends[middle]:], list[begin:ends[middle]]}
	var left [len(sides)]int
	inParallel(func(i int) { left[i] = s.fillSlots(sides[i]) })
	left[2] = s.fillSlots(sides[2])
	for i := range sides {
		put := sides[i][left[i]:]
		s.used += len(put)
		for _, r := range put {
			if end := uint64(r.word >> endFrom); isDrop(r.word) && end > s.calendar.gone {
				s.calendar.note(sourceOf[K](r.key), end)
			}
		}
	}
	return slices.Concat(sides[0][:left[0]], sides[2][:left[2]], sides[1][:left[1]])
}

// firstEnd is the soonest end of what the set may say of rows.
func (s *sources[K]) firstEnd(list []row) uint64 {
	first := uint64(math.MaxUint64)
	for i := range list {
		if end := uint64(list[i].word >> endFrom); end > s.calendar.gone && end < first && isDrop(list[i].word) {
			first = end
		}
	}
	return first
}

// fillSlots puts what putNew does out of some rows, and moves the others before
// them, of which it returns the number. It changes no more than the slots,
// counts, sieves and homes of the rows.
func (s *sources[K]) fillSlots(list []row) (left int) {
	var hashes [ahead]uint64
	var sum uint64
	var later [nearBuckets]bool // buckets into which something else has to be put before
	var part int
	for begin := 0; begin < len(list); begin += ahead {
		block := list[begin:min(begin+ahead, len(list))]
		sum |= s.touch(block, &hashes)
		for i := range block {
			r, bucket := block[i], s.verdicts.bucketOf(hashes[i])
			if bucket/nearBuckets != part {
				part, later = bucket/nearBuckets, [nearBuckets]bool{}
			}
			later[bucket%nearBuckets] = later[bucket%nearBuckets] || !s.mayDrop(r.word)
			if !later[bucket%nearBuckets] && s.fillSlot(hashes[i], r.key, r.word) {
				continue
			}
			block[i], list[left] = list[left], r
			left++
		}
	}
	runtime.KeepAlive(sum) // or the compiler might not touch anything
	return left
}

// fillSlot puts a source that is new and dropped, and reports whether it could. The sieve
// and the set may change in any order before the slot does, whose store is the
// one that orders them.
func (s *sources[K]) fillSlot(hash, key uint64, word uint32) bool {
	at, free := s.verdicts.findIn(s.verdicts.bucketOf(hash), key)
	if at >= 0 || free < 0 {
		return false
	}
	n := s.marks.name(hash)
	at, place := s.marks.find(n)
	if n.mark != 0 && (at >= 0 || place < 0 || s.marks.leftAt(n) >= 0) {
		return false
	}
	s.sift(hash)
	if n.mark != 0 {
		home, marks := s.marks.with(place, n.mark)
		*home = marks
	}
	s.verdicts.occupy(free, key, 0, word)
	return true
}

// putInSlot puts what takes no more than a slot that it has or that is free,
// and reports whether it did.
func (s *sources[K]) putInSlot(key uint64, word uint32) bool {
	if word == elsewhere || s.used >= s.capacity || s.endings.known() {
		return false
	}
	v := s.verdicts
	at, free := v.find(key)
	switch {
	case at >= 0 && v.word(at) != elsewhere:
		before := v.word(at)
		v.set(at, key, word)
		s.mark(sourceOf[K](key), word, before, false)
	case at < 0 && free >= 0:
		s.used++
		s.mark(sourceOf[K](key), word, 0, true)
		v.occupy(free, key, 0, word)
	default:
		return false
	}
	return true
}

// queue are entries that are still to be written to the hash. Until then the
// kernel finds what it would if they had not been put; whoever reads the hash
// has to flush first.
type queue[K source] struct {
	keys   []K
	values []datapathEntry
}

// enqueue has a source written to the hash that is not there, and whose slot
// says elsewhere or that stands outside.
func (s *sources[K]) enqueue(k K, value *datapathEntry) error {
	if s.queue.keys == nil {
		s.queue.keys, s.queue.values = make([]K, 0, batchSize), make([]datapathEntry, 0, batchSize)
	}
	s.queue.keys, s.queue.values = append(s.queue.keys, k), append(s.queue.values, *value)
	if len(s.queue.keys) < batchSize {
		return nil
	}
	return s.flush()
}

// flush writes what waits to the hash, most of it by one system call on each of
// two processors. What it has no room for, which is so if somebody else has filled
// it, is counted.
func (s *sources[K]) flush() error {
	keys, values := s.queue.keys, s.queue.values
	s.queue.keys, s.queue.values = keys[:0], values[:0]
	if half := len(keys) / 2; half > 0 {
		var done [2]int
		inParallel(func(i int) {
			from, to := i*half, half+i*(len(keys)-half)
			done[i] = from + s.batch(keys[from:to], values[from:to])
		})
		keys = slices.Concat(keys[done[0]:half], keys[done[1]:])
		values = slices.Concat(values[done[0]:half], values[done[1]:])
	}
	var refused []K
	for i := range keys {
		put, err := s.hash.putOne(&keys[i], &values[i], false)
		if err != nil {
			return err
		}
		if !put {
			refused = append(refused, keys[i])
		}
	}
	s.refused += uint64(len(refused))
	return s.delete(refused)
}

// batch writes to the hash by one system call, and returns how much of it was: if
// not all, the rest may pass one by one.
func (s *sources[K]) batch(keys []K, values []datapathEntry) (done int) {
	done, err := s.hash.m.BatchUpdate(keys, values, nil)
	if err == nil {
		return len(keys)
	}
	return done
}
