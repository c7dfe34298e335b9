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
type clock[T any] struct {
	slots pool[clockSlot[T]]
	hand  uint32
	held  [classes]uint32
}

type clockSlot[T any] struct {
	value T
	used  bool
	class class
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
func (c *clock[T]) add() uint32 {
	c.held[classNew]++
	return c.slots.take()
}

// classify puts entry i into a class.
func (c *clock[T]) classify(i uint32, to class) {
	s := c.slots.at(i)
	c.held[s.class]--
	c.held[to]++
	s.class = to
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
// number. There must be one.
func (c *clock[T]) leave() uint32 {
	from := c.excess()
	for {
		if c.hand++; c.hand > c.len() {
			c.hand = 1
		}
		s := c.slots.at(c.hand)
		switch {
		case s.class != from:
		case s.used:
			s.used = false
		default:
			return c.hand
		}
	}
}

// clear makes entry i a zero entry that is new.
func (c *clock[T]) clear(i uint32) {
	c.held[c.slots.at(i).class]--
	c.held[classNew]++
	*c.slots.at(i) = clockSlot[T]{}
}
