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

	used    int
	refused uint64 // puts that found the table full
}

func newTable[K comparable](name string, m *ebpf.Map) (*table[K], error) {
	t := &table[K]{name: name, m: m}
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
	t.used = used
	return nil
}

// put writes rows, each over what stands under its key, whose counters go on.
// It writes what it can even if the table is full.
func (t *table[K]) put(keys []K, values []datapathEntry) (err error) {
	if len(keys) == 0 {
		return nil
	}
	was := t.refused
	if len(keys) < batchSize {
		err = t.replaceAll(keys, values)
	} else {
		err = t.putMany(keys, values)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", t.name, err)
	}
	if refused := t.refused - was; refused > 0 {
		return fmt.Errorf("put %s: %w: %d of %d refused, %d entries stand", t.name, ErrFull, refused, len(keys), t.used)
	}
	return nil
}

// putMany writes rows by the batch. A batch does not tell which of its keys
// are new, so the rows are counted afterwards.
func (t *table[K]) putMany(keys []K, values []datapathEntry) error {
	empty := t.used == 0
	for len(keys) > 0 {
		n := min(len(keys), batchSize)
		if !empty {
			if err := t.succeed(keys[:n], values[:n]); err != nil {
				return err
			}
		}
		done, err := t.m.BatchUpdate(keys[:n], values[:n], nil)
		if err != nil {
			// Full, or an element was refused that passes when tried
			// again: what cannot be put at all is found one by one.
			err = t.replaceAll(keys[done:n], values[done:n])
		}
		if err != nil {
			return err
		}
		keys, values = keys[n:], values[n:]
	}
	return t.count()
}

// succeed gives values the counters that stand under their keys.
func (t *table[K]) succeed(keys []K, values []datapathEntry) error {
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

// replaceAll writes rows one by one, those that need writing.
func (t *table[K]) replaceAll(keys []K, values []datapathEntry) error {
	for i := range keys {
		old, found, err := t.get(keys[i], values[i].Bits)
		if err != nil {
			return err
		}
		if found && !values[i].succeed(&old) {
			continue
		}
		err = t.m.Put(&keys[i], &values[i])
		switch {
		case isFull(err):
			t.refused++
		case err != nil:
			return err
		case !found:
			t.used++
		}
	}
	return nil
}

// isFull knows what hashes (E2BIG) and tries (ENOSPC) say when they are full.
func isFull(err error) bool {
	return errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC)
}

func (t *table[K]) delete(keys []K) error {
	for len(keys) > 0 {
		n, err := t.m.BatchDelete(keys[:min(len(keys), batchSize)], nil)
		t.used -= n
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
func (t *table[K]) get(key K, bits uint32) (value datapathEntry, found bool, err error) {
	err = t.m.Lookup(&key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && value.Bits != bits {
		return datapathEntry{}, false, nil
	}
	if err != nil {
		return value, false, fmt.Errorf("look up %s: %w", t.name, err)
	}
	return value, true, nil
}

func (t *table[K]) fill() Fill {
	return Fill{Table: t.name, Used: t.used, Capacity: int(t.m.MaxEntries()), Refused: t.refused}
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
