package policy

// class is what an entry of a clock has earned. Each class is sure of a share
// of the table, so that entries of one class, which an attacker may be able to
// make at will, never push out those of another below its share.
type class uint8

const (
	classNew     class = iota // seen, and nothing more: a quarter is theirs
	classBad                  // flagged: a quarter is theirs
	classTrusted              // succeeded: half is theirs
	classes
)

// clock is a bounded list of entries that are never taken out but to make
// room for another, so entries 1 to n are always in use. Who leaves is found
// as the hand goes round, in the class that has more than its share: an entry
// that was used since the hand last passed stays for one more round. This
// costs a use one bit, where a list in the order of use costs it four cache
// misses. An entry that is new and never used again goes first, so a flood of
// entries that come once displaces those that came once.
//
// What the hand looks at stands apart from the entries: it may have to go past
// a million of them at once, which is then a megabyte to read.
type clock[T any] struct {
	slots pool[T]
	notes *notes
	hand  uint32
	held  [classes]uint32
	keep  func(i uint32) // told of an entry that may be changed; nil: nobody wants to know
}

func newClock[T any]() clock[T] { return clock[T]{notes: new(notes)} }

// note is what a clock keeps of an entry beside it: its class, and whether
type note uint8

const (
	noteUsed    note = 1 << iota // it was used since the hand passed
	noteCounted                  // something was counted for it since makeRoom came by
	noteHolds                    // it has a block of windows
	noteClass                    // the lowest bit of the class
)

func (n note) class() class { return class(n / noteClass) }

// notes is those of all entries.
type notes struct{ chunks [][]note }

func (t *notes) at(i uint32) *note { return &t.chunks[i>>chunkBits][i&chunkMask] }

// first returns a copy of the notes of entries 0 to n.
func (t *notes) first(n uint32) []note {
	all := make([]note, 0, len(t.chunks)<<chunkBits)
	for _, chunk := range t.chunks {
		all = append(all, chunk...)
	}
	return all[:min(int(n)+1, len(all))]
}

// at returns entry i to be read.
func (c *clock[T]) at(i uint32) *T { return c.slots.at(i) }

// change returns entry i to be changed.
func (c *clock[T]) change(i uint32) *T {
	if c.keep != nil {
		c.keep(i)
	}
	return c.slots.at(i)
}

// touch returns entry i to be changed, and notes that it was used.
func (c *clock[T]) touch(i uint32) *T {
	*c.notes.at(i) |= noteUsed
	return c.change(i)
}

// len returns the number of entries, which are numbered from 1.
func (c *clock[T]) len() uint32 { return c.slots.made }

// add returns the number of a new zero entry.
func (c *clock[T]) add() uint32 {
	c.held[classNew]++
	i := c.slots.take()
	if int(i>>chunkBits) == len(c.notes.chunks) {
		c.notes.chunks = append(c.notes.chunks, make([]note, chunkSize))
	}
	return i
}

// classify puts entry i into a class.
func (c *clock[T]) classify(i uint32, to class) {
	n := c.notes.at(i)
	c.held[n.class()]--
	c.held[to]++
	*n = *n%noteClass + note(to)*noteClass
}

// enter puts entry i, which is new, into a class, with notes.
func (c *clock[T]) enter(i uint32, to class, n note) {
	c.classify(i, to)
	*c.notes.at(i) |= n
}

// excess returns the class that has to make room.
func (c *clock[T]) excess() class {
	quarter := c.len() / 4
	switch {
	case c.held[classNew] > quarter:
		return classNew
	case c.held[classBad] > quarter:
		return classBad
	case c.held[classTrusted] > 0:
		return classTrusted
	case c.held[classBad] > 0:
		return classBad
	}
	return classNew
}

// leave moves the hand to the entry that has to make room and returns its
// number; it may be changed. There must be one.
func (c *clock[T]) leave() uint32 {
	from := c.excess()
	for {
		if c.hand++; c.hand > c.len() {
			c.hand = 1
		}
		n := c.notes.at(c.hand)
		switch {
		case n.class() != from:
		case *n&noteUsed != 0:
			*n &^= noteUsed
		default:
			c.change(c.hand)
			return c.hand
		}
	}
}

// clear makes entry i, which may be changed, a zero entry that is new.
func (c *clock[T]) clear(i uint32) {
	n := c.notes.at(i)
	c.held[n.class()]--
	c.held[classNew]++
	*n = 0
	var zero T
	*c.slots.at(i) = zero
}
