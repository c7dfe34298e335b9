package maillog

import "encoding/binary"

// table is a map of bounded size. When it is full, the entry that was put
// first goes, read or not: eviction depends on nothing but the log.
type table[V any] struct {
	Saved *savedTable[V] // while state is written or read; see state.go

	index map[uint64]uint32 // key → slot
	slots []slot[V]
	next  uint32 // the slot to be taken next, once slots has its full size
	size  int
}

type slot[V any] struct {
	used  bool
	key   uint64
	value V
}

func newTable[V any](size int) table[V] {
	return table[V]{index: make(map[uint64]uint32), size: size}
}

// get returns the value of key, or nil. The value may be changed in place
// until the next put.
func (t *table[V]) get(key uint64) *V {
	i, ok := t.index[key]
	if !ok {
		return nil
	}
	return &t.slots[i].value
}

// put sets the value of key. A key that exists keeps its age.
func (t *table[V]) put(key uint64, value V) {
	if i, ok := t.index[key]; ok {
		t.slots[i].value = value
		return
	}
	i := t.next
	if len(t.slots) < t.size {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot[V]{})
	} else {
		t.next = (t.next + 1) % uint32(t.size)
		if t.slots[i].used {
			delete(t.index, t.slots[i].key)
		}
	}
	t.slots[i] = slot[V]{true, key, value}
	t.index[key] = i
}

// empty reports whether there is no entry.
func (t *table[V]) empty() bool { return len(t.index) == 0 }

func (t *table[V]) remove(key uint64) {
	if i, ok := t.index[key]; ok {
		t.slots[i] = slot[V]{}
		delete(t.index, key)
	}
}

// hash is FNV-1a (draft-eastlake-fnv-17), but of eight bytes at a time where
// there are so many, for keys that the mail server chooses: hosts, processes,
// queue IDs, sessions. Clients have no say in them.
type hash uint64

const (
	newHash  hash = 14695981039346656037
	hashStep hash = 1099511628211
)

func (h hash) bytes(b []byte) hash {
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ hash(binary.LittleEndian.Uint64(b))) * hashStep
		h ^= h >> 29 // the step carries nothing down
	}
	for _, c := range b {
		h = (h ^ hash(c)) * hashStep
	}
	return (h ^ 0xff) * hashStep // parts do not run into each other
}

func (h hash) uint(n uint32) hash {
	h = (h ^ hash(n)) * hashStep
	return h ^ h>>29
}
