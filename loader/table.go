package loader

import (
	"errors"
	"fmt"
	"iter"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// batchSize is how many elements go through one system call.
const batchSize = 1 << 14

// table is one map of entries. The seam behind which a table of another
// shape could stand: its keys are nobody else's business.
//
// It is not safe for concurrent use.
type table[K comparable] struct {
	name string
	m    *ebpf.Map

	used    int
	refused uint64 // puts that found the table full

	keys   []K // rows waiting for flush
	values []datapathEntry
}

// newTable counts what m already holds.
func newTable[K comparable](name string, m *ebpf.Map) (*table[K], error) {
	t := &table[K]{name: name, m: m}
	for _, err := range t.all() {
		if err != nil {
			return nil, err
		}
		t.used++
	}
	return t, nil
}

// put takes a row and writes once there are enough of them. What it does not
// write, flush does.
func (t *table[K]) put(key K, value datapathEntry) error {
	t.keys = append(t.keys, key)
	t.values = append(t.values, value)
	if len(t.keys) == batchSize {
		return t.flush()
	}
	return nil
}

// flush writes the waiting rows. New keys go in by the batch; the kernel
// stops a batch at the first key that exists, so runs of those are replaced
// one by one, and each longer than the one before, in order not to try a
// batch in vain for every key of a known set.
func (t *table[K]) flush() error {
	keys, values := t.keys, t.values
	t.keys, t.values = t.keys[:0], t.values[:0]

	var refused int
	for run := 1; len(keys) > 0; {
		n, err := t.m.BatchUpdate(keys, values, &ebpf.BatchOptions{ElemFlags: uint64(ebpf.UpdateNoExist)})
		t.used += n
		keys, values = keys[n:], values[n:]
		switch {
		case err == nil:
			continue
		case isFull(err):
			// Only existing keys can still be served.
			run = batchSize
		case !errors.Is(err, ebpf.ErrKeyExist):
			return fmt.Errorf("put %s: %w", t.name, err)
		case n > 0:
			run = 1
		}
		for i := range min(run, len(keys)) {
			err := t.replace(keys[i], values[i])
			if isFull(err) {
				refused++
			} else if err != nil {
				return fmt.Errorf("put %s: %w", t.name, err)
			}
		}
		done := min(run, len(keys))
		keys, values = keys[done:], values[done:]
		run = min(run*2, batchSize)
	}
	if refused > 0 {
		t.refused += uint64(refused)
		return fmt.Errorf("put %s: %d refused at %d of %d: %w", t.name, refused, t.used, t.m.MaxEntries(), ErrFull)
	}
	return nil
}

// replace writes one row over what stands there, if anything does.
func (t *table[K]) replace(key K, value datapathEntry) error {
	old, found, err := t.get(key)
	if err != nil {
		return err
	}
	if found && !value.succeed(&old) {
		return nil
	}
	if err := t.m.Put(&key, &value); err != nil {
		return err
	}
	if !found {
		t.used++
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

func (t *table[K]) get(key K) (value datapathEntry, found bool, err error) {
	err = t.m.Lookup(&key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return value, false, nil
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
