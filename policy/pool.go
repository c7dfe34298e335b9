package policy

import (
	"math/bits"
	"unsafe"
)

// pool hands out numbered slots of T. Slots lie in chunks that never move,
// so that growth copies nothing, and a pool of a million slots without
// pointers costs the garbage collector nothing. Number 0 is never handed out
// and means "none".
type pool[T any] struct {
	chunks [][]T
	shift  uint8      // of a number, to that of its chunk
	free   [][]uint32 // a stack, in chunks as well; all but the last are full
	made   uint32     // slots ever handed out
	used   int
}

// Numbers that are small themselves lie in chunks of chunkSize.
const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
	chunkMask = chunkSize - 1
)

// chunkBytes is about how large a chunk is: whoever happens to need the next one
// waits until it is made.
const chunkBytes = 48 << 10

// shiftFor returns how many bits of a number stand for the place in a chunk.
func shiftFor[T any]() uint8 {
	var one T
	return uint8(bits.Len(uint(max(chunkBytes/unsafe.Sizeof(one), 1))) - 1)
}

// at returns slot i, which must be in use.
func (p *pool[T]) at(i uint32) *T { return &p.chunks[i>>p.shift][i&(1<<p.shift-1)] }

// take returns a zero slot.
func (p *pool[T]) take() uint32 {
	p.used++
	if n := len(p.free); n > 0 {
		top := p.free[n-1]
		i := top[len(top)-1]
		if p.free[n-1] = top[:len(top)-1]; len(top) == 1 {
			p.free = p.free[:n-1]
		}
		return i
	}
	if p.made++; len(p.chunks) == 0 {
		p.shift = shiftFor[T]()
	}
	if int(p.made>>p.shift) == len(p.chunks) {
		p.chunks = append(p.chunks, make([]T, 1<<p.shift))
	}
	return p.made
}

// give takes slot i back.
func (p *pool[T]) give(i uint32) {
	var zero T
	*p.at(i) = zero
	p.used--
	n := len(p.free)
	if n == 0 || len(p.free[n-1]) == chunkSize {
		if n < cap(p.free) && cap(p.free[:n+1][n]) > 0 {
			p.free = p.free[:n+1] // one that was emptied before
		} else {
			p.free = append(p.free, make([]uint32, 0, chunkSize))
		}
		n++
	}
	p.free[n-1] = append(p.free[n-1], i)
}

// list is numbered from 0 and grows only, in chunks as a pool does.
type list[T any] struct {
	chunks [][]T
	shift  uint8
	length int
}

func (l *list[T]) at(i int) *T { return &l.chunks[i>>l.shift][i&(1<<l.shift-1)] }

func (l *list[T]) len() int { return l.length }

func (l *list[T]) add(value T) {
	if len(l.chunks) == 0 {
		l.shift = shiftFor[T]()
	}
	if l.length>>l.shift == len(l.chunks) {
		l.chunks = append(l.chunks, make([]T, 1<<l.shift))
	}
	l.length++
	*l.at(l.length - 1) = value
}
