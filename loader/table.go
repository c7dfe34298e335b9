package loader

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// batchSize is how many elements go through one system call.
const batchSize = 1 << 12

// table is one map of entries. The seam behind which a table of another
// shape could stand: its keys are nobody else's business.
//
// It is not safe for concurrent use.
type table[K comparable] struct {
	name string
	m    *ebpf.Map

	used      int  // entries; unknown while uncounted
	uncounted bool // batches do not tell which of their keys were new, nor whose a deleted entry was
	refused   uint64

	makesRoom bool // when it is full, for what ends later
	displaced uint64
	endings   endings[K]
}

func newTable[K comparable](name string, m *ebpf.Map) (*table[K], error) {
	t := &table[K]{name: name, m: m, makesRoom: true}
	return t, t.count()
}

// count looks how many entries there are.
func (t *table[K]) count() error {
	used := 0
	for _, err := range t.all() {
		if err != nil {
			return err
		}
		used++
	}
	t.used, t.uncounted = used, false
	return nil
}

func (t *table[K]) empty() bool { return t.used == 0 && !t.uncounted }

// put writes rows, each over what stands under its key. If carry, the
// counters of what stands there go on. It writes what it can even if the
// table is full, and counts what it cannot.
func (t *table[K]) put(keys []K, values []datapathEntry, carry bool) error {
	for len(keys) >= batchSize {
		if carry {
			if err := t.carry(keys[:batchSize], values[:batchSize]); err != nil {
				return err
			}
		}
		t.uncounted = true
		if t.makesRoom {
			t.endings = endings[K]{} // what is put here is not noted
		}
		done, err := t.m.BatchUpdate(keys[:batchSize], values[:batchSize], nil)
		if err != nil {
			// Full, or one element was refused that passes when tried
			// again: what cannot be put at all is found one by one.
			err = t.putEach(keys[done:batchSize], values[done:batchSize])
		}
		if err != nil {
			return err
		}
		keys, values = keys[batchSize:], values[batchSize:]
	}
	return t.putEach(keys, values)
}

// carry gives values the counters that stand under their keys.
func (t *table[K]) carry(keys []K, values []datapathEntry) error {
	for i := range keys {
		old, found, err := t.get(keys[i], values[i].Bits)
		if err != nil {
			return err
		}
		if found {
			values[i].succeed(&old)
		}
	}
	return nil
}

// putEach writes rows one by one, those that say something new.
func (t *table[K]) putEach(keys []K, values []datapathEntry) error {
	for i := range keys {
		if _, err := t.putOne(&keys[i], &values[i], true); err != nil {
			return err
		}
	}
	return nil
}

// putOne writes a row if it says something new, and reports whether there was
// room. Something can stand under its key only if it may be known.
func (t *table[K]) putOne(key *K, value *datapathEntry, known bool) (room bool, err error) {
	if known {
		var old datapathEntry
		if old, known, err = t.get(*key, value.Bits); err != nil {
			return false, err
		}
		if known && !value.succeed(&old) {
			return true, nil
		}
	}
	err = t.m.Put(key, value)
	if isFull(err) && t.makesRoom {
		if err := t.displace(value); err != nil {
			return false, err
		}
		err = t.m.Put(key, value)
	}
	switch {
	case isFull(err):
		t.refused++
		return false, nil
	case err != nil:
		return false, fmt.Errorf("put %s: %w", t.name, err)
	case !known:
		t.used++
	}
	if t.makesRoom {
		t.endings.note(*key, value)
	}
	return true, nil
}

// displace makes room for value by deleting what ends before it and before
// all others, if there is any such.
func (t *table[K]) displace(value *datapathEntry) error {
	k, found, err := t.endings.first(t, value)
	if err != nil || !found {
		return err
	}
	t.displaced++
	return t.delete([]K{k})
}

// under returns the row under a key, of whatever length.
func (t *table[K]) under(key K) (value datapathEntry, found bool, err error) {
	switch k := any(key).(type) {
	case datapathPrefix4:
		return t.get(key, uint16(k.Bits))
	case datapathPrefix6:
		return t.get(key, uint16(k.Bits))
	}
	return value, false, fmt.Errorf("look up %s: not a table of prefixes", t.name)
}

// isFull knows what hashes (E2BIG) and tries (ENOSPC) say when they are full.
func isFull(err error) bool {
	return errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC)
}

func (t *table[K]) delete(keys []K) error {
	for len(keys) > 0 {
		n, err := t.m.BatchDelete(keys[:min(len(keys), batchSize)], nil)
		t.uncounted = t.uncounted || n > 0
		keys = keys[n:]
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			keys = keys[1:]
		} else if err != nil {
			return fmt.Errorf("delete %s: %w", t.name, err)
		}
	}
	return nil
}

// get returns the row under this very key, whose prefix is bits long. A trie
// answers with the longest match, which may be a shorter prefix's.
func (t *table[K]) get(key K, bits uint16) (value datapathEntry, found bool, err error) {
	err = t.m.Lookup(&key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && value.Bits != bits {
		return datapathEntry{}, false, nil
	}
	if err != nil {
		return value, false, fmt.Errorf("look up %s: %w", t.name, err)
	}
	return value, true, nil
}

func (t *table[K]) fill() (Fill, error) {
	if t.uncounted {
		if err := t.count(); err != nil {
			return Fill{}, err
		}
	}
	return Fill{Table: t.name, Used: t.used, Capacity: int(t.m.MaxEntries()), Refused: t.refused, Displaced: t.displaced}, nil
}

// all yields every row. Rows that come or go meanwhile may be missed, and
// seen twice.
func (t *table[K]) all() iter.Seq2[tableRow[K], error] {
	return func(yield func(tableRow[K], error) bool) {
		var cursor ebpf.MapBatchCursor
		keys, values := make([]K, batchSize), make([]datapathEntry, batchSize)
		for {
			n, err := t.m.BatchLookup(&cursor, keys, values, nil)
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				yield(tableRow[K]{}, fmt.Errorf("read %s: %w", t.name, err))
				return
			}
			for i := range n {
				if !yield(tableRow[K]{keys[i], &values[i]}, nil) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}

// tableRow is valid until the next one is yielded.
type tableRow[K comparable] struct {
	key   K
	value *datapathEntry
}
