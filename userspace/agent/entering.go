package agent

import (
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/userspace/store"
)

// entering takes what a store holds into a ledger, chunk by chunk, beside
// whoever reads the store. It implements store.Restorer.
//
// Whoever reads the store writes decisions where they stay. The memory of a
// million is new, and touching that is a good part of the work: it is the
// other half's.
type entering struct {
	ledger *sharedLedger
	now    time.Time
	chunk  []policy.Decision
	full   chan []policy.Decision
	empty  chan []policy.Decision
	done   chan struct{} // the ledger has all of them

	total int
	ended []store.Key // had ended by now
}

const (
	enterChunk = 1024 // decisions that enter at once
	enterAhead = 8    // chunks that are being filled, or wait
)

func newEntering(now time.Time) *entering {
	e := &entering{now: now}
	e.begin()
	return e
}

func (e *entering) begin() {
	e.ledger, e.full, e.empty, e.done = newSharedLedger(), make(chan []policy.Decision, enterAhead), make(chan []policy.Decision, enterAhead), make(chan struct{})
	e.total, e.ended = 0, nil
	for range enterAhead {
		e.empty <- make([]policy.Decision, 0, enterChunk)
	}
	e.chunk = <-e.empty
	go func() {
		defer close(e.done)
		for chunk := range e.full {
			e.ledger.Enter(e.now, chunk)
			next := make([]policy.Decision, enterChunk)
			touch(next)
			e.empty <- next[:0]
		}
	}()
}

// touch has the kernel give all pages of decisions that are new memory, for which it
// would be asked one by one when they are written (madvise(2)); and so it is where it
// does not know how.
func touch(decisions []policy.Decision) {
	size := len(decisions) * int(unsafe.Sizeof(policy.Decision{}))
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(decisions))), size), unix.MADV_POPULATE_WRITE)
}

// Expect implements store.Restorer.
func (e *entering) Expect(n int) { e.ledger.Expect(n) }

// Decision implements store.Restorer.
func (e *entering) Decision(d *policy.Decision) {
	e.total++
	if d.Ended(e.now) {
		e.ended = append(e.ended, store.KeyOf(d))
		return
	}
	if e.chunk = append(e.chunk, *d); len(e.chunk) == enterChunk {
		e.full <- e.chunk
		e.chunk = <-e.empty
	}
}

// Anew implements store.Restorer: what was entered is forgotten. To salvage a
// store makes garbage.
func (e *entering) Anew() {
	debug.SetGCPercent(salvageGCPercent)
	e.end()
	e.begin()
}

// end waits until all is entered.
func (e *entering) end() {
	e.full <- e.chunk
	close(e.full)
	<-e.done
}
