package policy

// pool hands out numbered slots of T. Slots lie in chunks that never move,
// so that growth copies nothing, and a pool of a million slots without
// pointers costs the garbage collector nothing. Number 0 is never handed out
// and means "none".
type pool[T any] struct {
	chunks [][]T
	free   []uint32
	made   uint32 // slots ever handed out
	used   int
}

const (
	chunkBits = 10
	chunkMask = 1<<chunkBits - 1
)

// at returns slot i, which must be in use.
func (p *pool[T]) at(i uint32) *T { return &p.chunks[i>>chunkBits][i&chunkMask] }

// take returns a zero slot.
func (p *pool[T]) take() uint32 {
	p.used++
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i
	}
	p.made++
	if int(p.made>>chunkBits) == len(p.chunks) {
		p.chunks = append(p.chunks, make([]T, 1<<chunkBits))
	}
	return p.made
}

// give takes slot i back.
func (p *pool[T]) give(i uint32) {
	var zero T
	*p.at(i) = zero
	p.used--
	p.free = append(p.free, i)
}

// recency orders numbered things by their last use. The zero value is empty.
type recency struct {
	links          []link // by number
	newest, oldest uint32
}

type link struct{ newer, older uint32 }

// add makes i, which is not in the order, the newest.
func (r *recency) add(i uint32) {
	for int(i) >= len(r.links) {
		r.links = append(r.links, link{})
	}
	r.links[i] = link{older: r.newest}
	if r.newest != 0 {
		r.links[r.newest].newer = i
	} else {
		r.oldest = i
	}
	r.newest = i
}

// drop takes i out of the order.
func (r *recency) drop(i uint32) {
	l := r.links[i]
	if l.newer != 0 {
		r.links[l.newer].older = l.older
	} else {
		r.newest = l.older
	}
	if l.older != 0 {
		r.links[l.older].newer = l.newer
	} else {
		r.oldest = l.newer
	}
	r.links[i] = link{}
}

// touch makes i, which is in the order, the newest.
func (r *recency) touch(i uint32) {
	if r.newest != i {
		r.drop(i)
		r.add(i)
	}
}

// table is a bounded map whose entries are numbered and ordered by last use.
type table[K comparable, V any] struct {
	index map[K]uint32
	slots pool[slot[K, V]]
	order recency
	max   int
}

type slot[K comparable, V any] struct {
	key   K
	value V
}

func newTable[K comparable, V any](most int) table[K, V] {
	return table[K, V]{index: make(map[K]uint32), max: most}
}

// find returns the number of key, 0 if it is not there, and makes it newest.
func (t *table[K, V]) find(key K) uint32 {
	i := t.index[key]
	if i != 0 {
		t.order.touch(i)
	}
	return i
}

// full reports whether an entry must leave before another is added.
func (t *table[K, V]) full() bool { return t.slots.used >= t.max }

// add enters key, which is not there, with a zero value.
func (t *table[K, V]) add(key K) uint32 {
	i := t.slots.take()
	t.slots.at(i).key = key
	t.index[key] = i
	t.order.add(i)
	return i
}

// remove takes entry i away.
func (t *table[K, V]) remove(i uint32) {
	delete(t.index, t.slots.at(i).key)
	t.order.drop(i)
	t.slots.give(i)
}

func (t *table[K, V]) key(i uint32) K    { return t.slots.at(i).key }
func (t *table[K, V]) value(i uint32) *V { return &t.slots.at(i).value }
