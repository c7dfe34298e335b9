package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"weir/policy"
	"weir/userspace/store"
)

// writer commits what the core decides, in groups and in its own goroutine.
// What cannot be written now, to a full disk say, is kept and tried again;
// newer writes to the same target replace older ones, so it is bounded by
// what the ledger holds.
type writer struct {
	open  func() (*store.Store, error)        // opens it again after it was damaged
	redo  func(context.Context, *store.Store) // has what stands and is not in it written again
	now   func() time.Time
	log   *slog.Logger
	wake  chan struct{} // something is pending
	hurry chan struct{} // somebody waits for it
	done  chan struct{} // run has returned

	mu         sync.Mutex
	closed     bool // nothing is taken any more
	store      *store.Store
	pending    map[store.Key]*policy.Decision // nil: to be removed
	writing    map[store.Key]*policy.Decision // of the commit under way
	checkpoint *checkpoint                    // nil: none new
	waiting    []chan<- error
	failure    error     // of the last commit
	saved      time.Time // when the last checkpoint was committed
}

const (
	gatherTime = 20 * time.Millisecond // how long decisions gather before they are committed
	retryTime  = time.Second           // after a failure
)

func newWriter(s *store.Store, open func() (*store.Store, error), redo func(context.Context, *store.Store), now func() time.Time, log *slog.Logger) *writer {
	return &writer{
		open: open, redo: redo, now: now, log: log,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{}),
		store: s, pending: make(map[store.Key]*policy.Decision),
	}
}

// put has decisions written some time soon. They must not change any more.
func (w *writer) put(decisions ...*policy.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range decisions {
		w.pending[store.KeyOf(d)] = d
	}
	signal(w.wake)
}

// remove has what is stored under keys removed some time soon.
func (w *writer) remove(keys ...store.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		w.pending[k] = nil
	}
	signal(w.wake)
}

// save has a checkpoint written, together with everything put before it and with
// the removal of keys. Those who wait are told when that is done.
func (w *writer) save(c *checkpoint, keys []store.Key, waiting []chan<- error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		w.pending[k] = nil
	}
	w.checkpoint = c
	w.waiting = append(w.waiting, waiting...)
	signal(w.wake)
	if len(waiting) > 0 {
		signal(w.hurry)
	}
}

// flushed returns a channel that gives the outcome of writing everything that
// is pending now.
func (w *writer) flushed() <-chan error {
	done := make(chan error, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		done <- errors.New("the agent is stopping")
		return done
	}
	w.waiting = append(w.waiting, done)
	signal(w.wake)
	signal(w.hurry)
	return done
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// state tells when the last checkpoint was committed, zero if none was, and
// why writing does not work, nil if it does.
func (w *writer) state() (saved time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		err = fmt.Errorf("%d changes are not stored yet: %w", len(w.pending), w.failure)
	}
	return w.saved, err
}

// run commits until ctx ends, and then what is pending once more.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	for {
		select {
		case <-ctx.Done():
			w.mu.Lock()
			w.closed = true
			w.mu.Unlock()
			_ = w.commit() // state tells
			return
		case <-w.wake:
		}
		select {
		case <-ctx.Done():
		case <-w.hurry:
		case <-time.After(gatherTime):
		}
		err := w.commit()
		if err == nil {
			continue
		}
		if errors.Is(err, store.ErrDamaged) {
			w.reopen(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryTime):
		}
		signal(w.wake)
	}
}

// commit writes everything that is pending in one transaction.
func (w *writer) commit() error {
	w.mu.Lock()
	pending, checkpoint, waiting := w.pending, w.checkpoint, w.waiting
	w.pending, w.checkpoint, w.waiting = make(map[store.Key]*policy.Decision), nil, nil
	w.writing = pending
	s := w.store
	w.mu.Unlock()

	var text [][]byte
	if checkpoint != nil {
		var err error
		if text, err = checkpoint.encode(); err != nil {
			w.log.Error("no checkpoint can be taken; after a crash more of the logs will be read again", "error", err)
			checkpoint = nil
		}
	}
	var err error
	if len(pending) > 0 || text != nil {
		err = s.Commit(batchOf(pending, text))
	}
	w.settle(err, pending, checkpoint)
	for _, done := range waiting {
		done <- err
	}
	return err
}

func batchOf(pending map[store.Key]*policy.Decision, checkpoint [][]byte) store.Batch {
	b := store.Batch{Put: make([]policy.Decision, 0, len(pending)), Checkpoint: checkpoint}
	for key, d := range pending {
		if d == nil {
			b.Remove = append(b.Remove, key)
		} else {
			b.Put = append(b.Put, *d)
		}
	}
	return b
}

// settle notes the outcome, and keeps what failed unless it is overtaken.
func (w *writer) settle(err error, pending map[store.Key]*policy.Decision, checkpoint *checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = nil
	switch {
	case err != nil && w.failure == nil:
		w.log.Error("decisions cannot be stored; they stay in force and in memory, and storing is tried again", "error", err)
	case err == nil && w.failure != nil:
		w.log.Info("decisions are stored again")
	}
	w.failure = err
	if err == nil {
		if checkpoint != nil {
			w.saved = w.now()
		}
		return
	}
	for key, d := range pending {
		if _, newer := w.pending[key]; !newer {
			w.pending[key] = d
		}
	}
	if w.checkpoint == nil {
		w.checkpoint = checkpoint
	}
}

// reopen has a store that was damaged while open salvaged, and everything
// that stands written into what comes of it.
func (w *writer) reopen(ctx context.Context) {
	old := w.current()
	if err := old.Close(); err != nil && !errors.Is(err, fs.ErrClosed) { // at an earlier attempt
		w.log.Warn("closing the damaged store", "error", err)
	}
	fresh, err := w.open()
	if err != nil {
		w.log.Error("the damaged store cannot be opened again", "error", err)
		return
	}
	w.mu.Lock()
	w.store = fresh
	w.mu.Unlock()
	w.redo(ctx, fresh)
}

// current returns the store that is written to.
func (w *writer) current() *store.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store
}

// close waits for run, and closes the store.
func (w *writer) close() error {
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store.Close()
}
