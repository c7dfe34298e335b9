package intake

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"sync"
	"time"
)

const (
	lostQueueFull = "syslog messages came faster than they were processed"
	lostTooLong   = "syslog message longer than the kernel delivers"
)

// maxDatagram is more than a unix datagram can hold with the usual
// net.core.wmem_max.
const maxDatagram = 256 << 10

// queue holds datagrams for a slow sink. It never makes the sender wait,
// because the sender is the mail server: what does not fit is lost and counted.
type queue struct {
	limit int
	wake  chan struct{} // something is there; closed when nothing will come

	mu    sync.Mutex
	in    arena
	out   arena // owned by the receiver between swaps
	first time.Time
}

// arena is datagrams laid end to end.
type arena struct {
	data []byte
	ends []int
}

func newQueue(limit int) *queue { return &queue{limit: limit, wake: make(chan struct{}, 1)} }

// receive reads datagrams until conn is closed, which is no error.
func (q *queue) receive(conn *net.UnixConn, m *meter) error {
	defer close(q.wake)
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("receive syslog: %w", err)
		case n == len(buf):
			m.lost(lostTooLong, 1, time.Now())
		case !q.put(buf[:n]):
			m.lost(lostQueueFull, 1, time.Now())
		}
	}
}

// put appends a datagram; false: there is no room.
func (q *queue) put(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	// A datagram costs its place in the list as well, or empty ones would be free.
	if len(q.in.data)+len(b)+8*(len(q.in.ends)+1) > q.limit {
		return false
	}
	if len(q.in.ends) == 0 {
		q.first = time.Now()
	}
	q.in.data = append(q.in.data, b...)
	q.in.ends = append(q.in.ends, len(q.in.data))
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// swap takes what has come since the last swap and says when the first of it
// came.
func (q *queue) swap() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.in, q.out = q.out, q.in
	q.in.data, q.in.ends = q.in.data[:0], q.in.ends[:0]
	return q.first
}

// taken gives the datagrams of the last swap, valid until the next.
func (q *queue) taken() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start := 0
		for _, end := range q.out.ends {
			if !yield(q.out.data[start:end]) {
				return
			}
			start = end
		}
	}
}
