package loader

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
)

// sources is everything that stands for single sources of one family. What
// is dropped or allowed stands in the verdict table; what is limited, and
// what finds its bucket full, in a hash that the kernel asks when a slot, or
// a full bucket, sends it there. So a bucket never has a free slot while one
// of its sources stands outside.
//
// Every step is one that the kernel program may look at, and one after which
// this process may die: newSources puts in order what was left half done.
type sources[K source] struct {
	name     string
	bits     uint16 // of a source
	capacity int
	verdicts *verdicts
	marks    *marks
	calendar calendar[K]
	hash     *table[K]
	outside  map[int][]K // keys that have no slot, by bucket
	queue    queue[K]
	sorted   []row  // room for rows that are put
	touched  uint64 // means nothing

	used      int
	refused   uint64
	displaced uint64
	endings   endings[K]
}

// source is a key of the hash.
type source interface {
	datapathSource4 | datapathSource6
}

// keyOf is a source's key in the verdict table: its bytes as they lie in
// memory.
func keyOf[K source](k K) uint64 {
	if unsafe.Sizeof(k) == 4 {
		return uint64(*(*uint32)(unsafe.Pointer(&k)))
	}
	return *(*uint64)(unsafe.Pointer(&k))
}

func sourceOf[K source](key uint64) (k K) {
	if unsafe.Sizeof(k) == 4 {
		*(*uint32)(unsafe.Pointer(&k)) = uint32(key)
	} else {
		*(*uint64)(unsafe.Pointer(&k)) = key
	}
	return k
}

// newSources takes over what stands in the maps, unless they are fresh, as of a time
// of the kernel's clock.
func newSources[K source](name string, bits uint16, v *verdicts, m *marks, hash *ebpf.Map, fresh bool, now uint64) (*sources[K], error) {
	s := &sources[K]{
		name: name, bits: bits, capacity: int(hash.MaxEntries()), verdicts: v, marks: m, calendar: newCalendar[K](),
		hash:    &table[K]{name: name, m: hash},
		outside: make(map[int][]K),
	}
	s.calendar.gone = now>>endShift + endAhead
	if fresh {
		return s, nil
	}
	if err := s.tidy(); err != nil {
		return nil, err
	}
	return s, s.remark()
}

// tidy counts what there is, and undoes what was left half done.
func (s *sources[K]) tidy() error {
	inHash := make(map[uint64]bool)
	var stale []K
	for row, err := range s.hash.all() {
		if err != nil {
			return err
		}
		key := keyOf(row.key)
		at, _ := s.verdicts.find(key)
		switch {
		case at >= 0 && s.verdicts.word(at) != elsewhere:
			stale = append(stale, row.key) // it had just moved to its slot
		case at < 0:
			s.add(row.key)
			fallthrough
		default:
			inHash[key] = true
		}
	}
	if err := s.hash.delete(stale); err != nil {
		return err
	}
	for at := range s.slots() {
		if s.verdicts.word(at) == elsewhere && !inHash[s.verdicts.key(at)] {
			if err := s.vacate(at); err != nil { // it was just being deleted
				return err
			}
		}
	}
	return nil
}

// remark makes the set say what the tables do, and counts that.
func (s *sources[K]) remark() error {
	live := s.marks
	s.marks = newMarks(live.form, live.factor)
	clear(s.marks.words) // new memory that is read before it is written costs two page faults
	for row, err := range s.all() {
		if err != nil {
			return err
		}
		s.used++
		s.mark(row.key, row.value.word(), 0, true)
	}
	live.become(s.marks, s.calendar.first())
	s.marks = live
	for bucket := range s.verdicts.sieve {
		s.resift(bucket)
	}
	return nil
}

// sift puts a source of a hash into the sieve.
func (s *sources[K]) sift(hash uint64) {
	s.verdicts.sieve[s.verdicts.bucketOf(hash)] |= sieveBits(s.marks.restOf(hash))
}

func (s *sources[K]) sieveBits(key uint64) uint32 {
	return sieveBits(s.marks.restOf(s.verdicts.hash(key)))
}

// resift has a bucket's sieve know no more than what the bucket has.
func (s *sources[K]) resift(bucket int) {
	var word uint32
	for i := range s.verdicts.shape.slots {
		if key, verdict := s.verdicts.slot(bucket*s.verdicts.shape.slots + i); verdict != 0 {
			word |= s.sieveBits(key)
		}
	}
	for _, k := range s.outside[bucket] {
		word |= s.sieveBits(keyOf(k))
	}
	if s.verdicts.sieve[bucket] != word {
		atomic.StoreUint32(&s.verdicts.sieve[bucket], word)
	}
}

// add notes that k stands outside.
func (s *sources[K]) add(k K) {
	b := s.verdicts.bucket(keyOf(k))
	if list := s.outside[b]; !slices.Contains(list, k) {
		s.outside[b] = append(list, k)
	}
}

// put writes an entry over what stands under its key, whose counters go on, or
// counts that there is no room for it. Whoever has put flushes.
func (s *sources[K]) put(k K, value *datapathEntry) error {
	v, key := s.verdicts, keyOf(k)
	at, free := v.find(key)
	known := at >= 0 || free < 0 && s.isOutside(k) // nobody is outside of a bucket with room
	if known || s.used >= s.capacity {             // the hash may be read
		if err := s.flush(); err != nil {
			return err
		}
	}
	switch {
	case !known && s.used >= s.capacity:
		room, err := s.displace(value)
		if err != nil {
			return err
		}
		if !room {
			s.refused++
			return nil
		}
		at, free = v.find(key)
		fallthrough
	case !known:
		s.used++
	}
	s.endings.note(k, value)
	if !known { // before an entry that is refused is deleted
		s.mark(k, value.word(), 0, true)
		_, err := s.place(k, value, at, free, false)
		return err
	}
	before, err := s.before(k, at)
	if err != nil {
		return err
	}
	if placed, err := s.place(k, value, at, free, true); err != nil || !placed {
		return err
	}
	s.mark(k, value.word(), before, false)
	return nil
}

// before is the verdict of a source that is known, and stands in a slot or
// outside.
func (s *sources[K]) before(k K, at int) (word uint32, err error) {
	if at >= 0 {
		return s.verdicts.word(at), nil
	}
	old, _, err := s.hash.get(k, s.bits)
	return old.word(), err
}

// place writes an entry to the slot that the source has, to a free one, or to
// the hash, and reports whether there was room in that.
func (s *sources[K]) place(k K, value *datapathEntry, at, free int, known bool) (bool, error) {
	v, key := s.verdicts, keyOf(k)
	limited := value.Action == datapathAction(ActionLimit)
	switch {
	case at >= 0 && v.word(at) != elsewhere && !limited:
		v.set(at, key, value.word())
		return true, nil
	case at < 0 && free >= 0 && !limited:
		v.occupy(free, key, 0, value.word())
		return true, nil
	case at >= 0 && !limited: // from the hash into its slot
		old, found, err := s.hash.get(k, s.bits)
		if err != nil {
			return false, err
		}
		if found {
			value.succeed(&old)
		}
		v.occupy(at, key, countsOf(value), value.word())
		return true, s.hash.delete([]K{k})
	case at >= 0: // from its slot into the hash
		if _, old, ok := v.read(at, s.bits); ok {
			value.succeed(&old)
		}
	}
	if known {
		put, err := s.hash.putOne(&k, value, true)
		switch {
		case err != nil:
			return false, err
		case !put: // to a map that somebody else has filled
			s.refused++
		case at >= 0:
			v.set(at, key, elsewhere)
		}
		return put, nil
	}
	if free >= 0 {
		v.occupy(free, key, 0, elsewhere)
	} else {
		s.add(k)
	}
	return true, s.enqueue(k, value)
}

// displace makes room for value by deleting what ends before it and before
// all others. It reports whether there is room.
func (s *sources[K]) displace(value *datapathEntry) (room bool, err error) {
	k, found, err := s.endings.first(s, value)
	if err != nil || !found {
		return false, err
	}
	s.displaced++
	return true, s.delete([]K{k})
}

func (s *sources[K]) isOutside(k K) bool {
	return len(s.outside) > 0 && slices.Contains(s.outside[s.verdicts.bucket(keyOf(k))], k)
}

// delete removes what stands under keys.
func (s *sources[K]) delete(keys []K) error {
	for _, k := range keys {
		at, _ := s.verdicts.find(keyOf(k))
		switch {
		case at >= 0:
			s.used--
			limited := s.verdicts.word(at) == elsewhere
			if limited { // before its slot is another's
				if err := s.hash.delete([]K{k}); err != nil {
					return err
				}
			}
			if err := s.vacate(at); err != nil {
				return err
			}
			s.marks.remove(s.nameOf(k))
		case s.isOutside(k):
			s.used--
			if err := s.hash.delete([]K{k}); err != nil {
				return err
			}
			s.remove(k)
			s.marks.remove(s.nameOf(k))
		default:
			continue
		}
		s.resift(s.verdicts.bucket(keyOf(k)))
	}
	return nil
}

// remove notes that k stands outside no longer.
func (s *sources[K]) remove(k K) {
	b := s.verdicts.bucket(keyOf(k))
	rest := slices.DeleteFunc(s.outside[b], func(o K) bool { return o == k })
	if len(rest) == 0 {
		delete(s.outside, b)
		return
	}
	s.outside[b] = rest
}

// vacate frees a slot, or gives it to a source of its bucket that stands
// outside.
func (s *sources[K]) vacate(at int) error {
	v := s.verdicts
	waiting := s.outside[at/v.shape.slots]
	if len(waiting) == 0 {
		v.clear(at)
		return nil
	}
	k := waiting[len(waiting)-1]
	value, found, err := s.hash.get(k, s.bits)
	if err != nil {
		return err
	}
	// The bucket stays full, so the kernel finds k in the hash until its slot
	// speaks for it.
	v.set(at, v.key(at), elsewhere)
	v.occupy(at, keyOf(k), 0, elsewhere)
	s.remove(k)
	if !found { // somebody else has been at the map
		s.used--
		s.marks.remove(s.nameOf(k))
		return s.vacate(at)
	}
	if value.Action == datapathAction(ActionLimit) {
		return nil
	}
	v.occupy(at, keyOf(k), countsOf(&value), value.word())
	return s.hash.delete([]K{k})
}

func (s *sources[K]) fill() Fill {
	return Fill{Table: s.name, Used: s.used, Capacity: s.capacity, Refused: s.refused, Displaced: s.displaced}
}
