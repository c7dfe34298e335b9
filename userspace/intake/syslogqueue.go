package intake

import (
	"iter"
	"sync"
	"time"
)

// Reasons for losses of syslog.
const (
	lostQueueFull   = "syslog messages came faster than they were processed"
	lostTooLong     = "syslog message longer than the kernel delivers"
	lostByKernel    = "syslog datagrams dropped by the kernel, as they came faster than they were read"
	lostFraming     = "syslog stream that is neither octet-counted nor lines (RFC 6587)"
	lostSlow        = "syslog message that took too long to come whole"
	lostUnfinished  = "syslog connection that ended within a message"
	lostConnections = "syslog connection refused, as there were too many"
)

// queue holds messages for a slow sink. It never makes the sender wait,
// because the sender is the mail server: what does not fit is lost and counted.
type queue struct {
	limit int
	wake  chan struct{} // something is there; closed when nothing will come

	mu    sync.Mutex
	in    arena
	out   arena // owned by the receiver between swaps
	first time.Time
}

// arena is messages laid end to end.
type arena struct {
	data  []byte
	items []item
}

// item is where a message ends, and who sent it; empty: this host.
type item struct {
	end    int
	sender string
}

// itemSize is what a message costs besides its bytes, or empty ones would be
// free.
const itemSize = 24

func newQueue(limit int) *queue { return &queue{limit: limit, wake: make(chan struct{}, 1)} }

// put appends a message; false: there is no room.
func (q *queue) put(b []byte, sender string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.in.data)+len(b)+itemSize*(len(q.in.items)+1) > q.limit {
		return false
	}
	if len(q.in.items) == 0 {
		q.first = time.Now()
	}
	q.in.data = append(q.in.data, b...)
	q.in.items = append(q.in.items, item{len(q.in.data), sender})
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
	q.in.data, q.in.items = q.in.data[:0], q.in.items[:0]
	return q.first
}

// taken gives the messages of the last swap and their senders, valid until
// the next.
func (q *queue) taken() iter.Seq2[[]byte, string] {
	return func(yield func([]byte, string) bool) {
		start := 0
		for _, i := range q.out.items {
			if !yield(q.out.data[start:i.end], i.sender) {
				return
			}
			start = i.end
		}
	}
}
