package loader

import (
	"slices"
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

// add takes in the entry of this index, which is valid, out of so many.
func (r *toPut) add(index, of int, e *Entry, at moment) {
	which := tableOf(e.Prefix)
	if which == prefixes4 || which == prefixes6 {
		r.prefixes = append(r.prefixes, index)
		r.wide |= wideFlags(datapathAction(e.Action), uint64(e.Bytes))
		return
	}
	one := row{word: elsewhere, index: uint32(index)}
	if e.Action != ActionLimit {
		one.word = wordOf(at.toKernel(e.Expires), e.Action, e.Keep)
	}
	if which == sources4 {
		one.key = keyOf(keyOfSource4(e.Prefix))
	} else {
		one.key = keyOf(keyOfSource6(e.Prefix))
	}
	if r.sources[which] == nil {
		r.sources[which] = make([]row, 0, of-index)
	}
	r.sources[which] = append(r.sources[which], one)
}

const (
	// ahead is how many sources' buckets are fetched before the first of
	// them is written.
	ahead = 64

	// nearBuckets is a part of a table that fits into a cache with its marks
	// and counts, and whose pages the processor can remember; sortFrom is how
	// many rows are worth being sorted by such parts.
	nearBuckets = 1 << 9
	sortFrom    = 1 << 12
)

// byBucket returns rows in the order of the parts of the table that they
// belong to, and within a part in the order that they had.
func (v *verdicts) byBucket(list []row) []row {
	if len(list) < sortFrom {
		return list
	}
	next := make([]int, v.buckets/nearBuckets+2)
	for i := range list {
		next[v.bucket(list[i].key)/nearBuckets+1]++
	}
	for i := range next[1:] {
		next[i+1] += next[i]
	}
	sorted := make([]row, len(list))
	for _, r := range list {
		part := v.bucket(r.key) / nearBuckets
		sorted[next[part]] = r
		next[part]++
	}
	return sorted
}

// touch has the processor fetch the buckets of rows. What it returns means
// nothing.
func (v *verdicts) touch(list []row) (sum uint64) {
	for i := range list {
		sum |= v.touchKey(list[i].key)
	}
	return sum
}

// putRows writes rows, each over what stands under its key. limit gives the
// entry of one that is limited.
func (s *sources[K]) putRows(list []row, limit func(index uint32) datapathEntry) error {
	for block := range slices.Chunk(s.verdicts.byBucket(list), ahead) {
		s.touched = s.verdicts.touch(block) // or the compiler might leave all of it out
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

// flush writes what waits to the hash, most of it by one system call. What it
// has no room for, which is so if somebody else has filled it, is counted.
func (s *sources[K]) flush() error {
	keys, values := s.queue.keys, s.queue.values
	s.queue.keys, s.queue.values = keys[:0], values[:0]
	if len(keys) > 1 {
		if done, err := s.hash.m.BatchUpdate(keys, values, nil); err == nil {
			return nil
		} else {
			keys, values = keys[done:], values[done:]
		}
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
