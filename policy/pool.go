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
