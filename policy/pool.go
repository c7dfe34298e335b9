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

// clock is a bounded list of entries that are never taken out but to make
// room for another, so entries 1 to n are always in use. Who leaves is found
// as the hand goes round: an entry that was used since the hand last passed
// stays for one more round. This costs a use one bit, where a list in the
// order of use costs it four cache misses. An entry that is new and never
// used again goes first, so a flood of entries that come once displaces
// those that came once.
type clock[T any] struct {
	slots pool[clockSlot[T]]
	hand  uint32
}

type clockSlot[T any] struct {
	value T
	used  bool
}

// at returns entry i.
func (c *clock[T]) at(i uint32) *T { return &c.slots.at(i).value }

// touch returns entry i and notes that it was used.
func (c *clock[T]) touch(i uint32) *T {
	s := c.slots.at(i)
	s.used = true
	return &s.value
}

// len returns the number of entries, which are numbered from 1.
func (c *clock[T]) len() uint32 { return c.slots.made }

// add returns the number of a new zero entry.
func (c *clock[T]) add() uint32 { return c.slots.take() }

// leave moves the hand to the entry that has to make room and returns its
// number. There must be one.
func (c *clock[T]) leave() uint32 {
	for {
		if c.hand++; c.hand > c.len() {
			c.hand = 1
		}
		s := c.slots.at(c.hand)
		if !s.used {
			return c.hand
		}
		s.used = false
	}
}

// clear makes entry i a zero entry that is new.
func (c *clock[T]) clear(i uint32) { *c.slots.at(i) = clockSlot[T]{} }
