package policy

import (
	"hash/maphash"
	"math/bits"
)

// index finds the number of something by a hash of it. A slot is eight bytes,
// the hash and the number, so a search reads one cache line and then what it
// was looking for; a Go map of a million sources takes three times the memory
// and one cache miss more.
//
// It is hash tables with linear probing (Knuth, volume 3, section 6.4,
// algorithms L and R), each with a part of the hashes: they grow one by one, and
// no event waits for the growth of more than one of them, which is 4,096 slots with
// a million entries. Hashes are keyed: attackers choose sources and names.
type index struct {
	parts [indexParts]indexPart
	used  int
}

const indexParts = 256

type indexPart struct {
	slots []slot // a power of two of them, at most three quarters used
	used  int
}

// slot is a hash in the upper half and a number in the lower, 0 if it is
// free.
type slot uint64

func (s slot) hash() uint32   { return uint32(s >> 32) }
func (s slot) number() uint32 { return uint32(s) }

// part returns where what has hash h is.
func (x *index) part(h uint32) *indexPart { return &x.parts[h>>24] }

// probe returns the first number from place at on whose hash is h, 0 if there
// is none, and moves at behind it. A search begins with at = h.
func (x *index) probe(h uint32, at *uint32) uint32 {
	slots := x.part(h).slots
	if len(slots) == 0 {
		return 0
	}
	mask := uint32(len(slots) - 1)
	for {
		s := slots[*at&mask]
		if s == 0 {
			return 0
		}
		*at++
		if s.hash() == h {
			return s.number()
		}
	}
}

// peek reads where a search for h begins.
func (x *index) peek(h uint32) uint64 {
	slots := x.part(h).slots
	if len(slots) == 0 {
		return 0
	}
	return uint64(slots[h&uint32(len(slots)-1)])
}

// put enters number n, which is not in it, under hash h.
func (x *index) put(h, n uint32) {
	p := x.part(h)
	if 4*(p.used+1) > 3*len(p.slots) {
		old := p.slots
		p.slots = make([]slot, max(16, 2*len(old)))
		for _, s := range old {
			if s != 0 {
				p.place(s)
			}
		}
	}
	p.place(slot(h)<<32 | slot(n))
	p.used++
	x.used++
}

func (p *indexPart) place(s slot) {
	mask := uint32(len(p.slots) - 1)
	at := s.hash() & mask
	for p.slots[at] != 0 {
		at = (at + 1) & mask
	}
	p.slots[at] = s
}

// remove takes number n out, which is in it under hash h.
func (x *index) remove(h, n uint32) {
	p := x.part(h)
	slots, mask := p.slots, uint32(len(p.slots)-1)
	gap := h & mask
	for slots[gap] != slot(h)<<32|slot(n) {
		gap = (gap + 1) & mask
	}
	// What follows moves up, unless it would come to stand before its place.
	for at := (gap + 1) & mask; slots[at] != 0; at = (at + 1) & mask {
		if s := slots[at]; (at-s.hash())&mask >= (at-gap)&mask {
			slots[gap] = s
			gap = at
		}
	}
	slots[gap] = 0
	p.used--
	x.used--
}

// sourceKey keys the hashes of sources. It is drawn by chance, and nothing that
// the engine says depends on it.
type sourceKey struct{ net, factor uint64 }

func newSourceKey() sourceKey {
	draw := func() uint64 { return maphash.Comparable(maphash.MakeSeed(), 0) }
	return sourceKey{draw(), draw() | 1}
}

// hash is a folded multiplication, as wyhash has it.
func (k sourceKey) hash(s Source) uint32 {
	high, low := bits.Mul64(s.net^k.net^uint64(s.family)<<56, k.factor)
	return uint32((high^low)>>32) ^ uint32(high^low)
}
