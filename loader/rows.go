package loader

import (
	"iter"
)

// under returns the row under a key.
func (s *sources[K]) under(k K) (datapathEntry, bool, error) {
	if at, _ := s.verdicts.find(keyOf(k)); at >= 0 {
		if _, value, ok := s.verdicts.read(at, s.bits); ok {
			return value, true, nil
		}
	}
	return s.hash.get(k, s.bits)
}

// locate returns the row under a key, less its counts if it stands in a slot; and
// that, −1 if it has none. Unlike under it believes what is known of who stands
// outside.
func (s *sources[K]) locate(k K) (value datapathEntry, slot int, found bool, err error) {
	at, free := s.verdicts.find(keyOf(k))
	if at >= 0 {
		if word := s.verdicts.word(at); word != elsewhere {
			return entryOf(word, s.bits), at, true, nil
		}
	} else if free >= 0 || !s.isOutside(k) {
		return value, -1, false, nil
	}
	value, found, err = s.hash.get(k, s.bits)
	return value, at, found, err
}

// slots yields all slots that are not free.
func (s *sources[K]) slots() iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := range s.verdicts.counts {
			if s.verdicts.word(at) != 0 && !yield(at) {
				return
			}
		}
	}
}

// all yields every row. Rows that come or go meanwhile may be missed, and seen
// twice. The hash comes first: untouched rows move from there to slots, never
// back.
func (s *sources[K]) all() iter.Seq2[tableRow[K], error] {
	return s.allBut(nil)
}

// allBut is all, less the rows that have one of some slots.
func (s *sources[K]) allBut(some slotSet) iter.Seq2[tableRow[K], error] {
	return func(yield func(tableRow[K], error) bool) {
		for row, err := range s.hash.all() {
			if err == nil {
				if at, _ := s.verdicts.find(keyOf(row.key)); at >= 0 && some.has(at) {
					continue
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		for at := range s.slots() {
			if some.has(at) {
				continue
			}
			key, value, ok := s.verdicts.read(at, s.bits)
			if ok && !yield(tableRow[K]{sourceOf[K](key), &value}, nil) {
				return
			}
		}
	}
}
