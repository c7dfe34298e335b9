package policy

// pool hands out numbered slots of T. Slots lie in chunks that never move,
// so that growth copies nothing, and a pool of a million slots without
// pointers costs the garbage collector nothing. Number 0 is never handed out
// and means "none".
type pool[T any] struct {
	chunks [][]T
	free   [][]uint32 // a stack, in chunks as well; all but the last are full
	made   uint32     // slots ever handed out
	used   int
}

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
	chunkMask = chunkSize - 1
)

// at returns slot i, which must be in use.
func (p *pool[T]) at(i uint32) *T { return &p.chunks[i>>chunkBits][i&chunkMask] }

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
	p.made++
	if int(p.made>>chunkBits) == len(p.chunks) {
		p.chunks = append(p.chunks, make([]T, chunkSize))
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
	length int
}

func (l *list[T]) at(i int) *T { return &l.chunks[i>>chunkBits][i&chunkMask] }

func (l *list[T]) len() int { return l.length }

func (l *list[T]) add(value T) {
	if l.length>>chunkBits == len(l.chunks) {
		l.chunks = append(l.chunks, make([]T, chunkSize))
	}
	l.length++
	*l.at(l.length - 1) = value
}
