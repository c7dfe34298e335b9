package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
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

	mu      sync.Mutex
	closed  bool // nothing is taken any more
	store   *store.Store
	pending map[store.Key]*policy.Decision // nil: to be removed
	writing map[store.Key]*policy.Decision // of the commit under way
	waiting []chan<- error
	failure error // of the last commit

	drafts
}

const (
	gatherTime = 20 * time.Millisecond // how long decisions gather before they are committed
	retryTime  = time.Second           // after a failure
)

func newWriter(s *store.Store, open func() (*store.Store, error), redo func(context.Context, *store.Store), now func() time.Time, log *slog.Logger) *writer {
	return &writer{
		open: open, redo: redo, now: now, log: log,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{}),
		store: s, pending: make(map[store.Key]*policy.Decision), drafts: drafts{idle: idle()},
	}
}

// put has decisions written some time soon. They must not change any more.
func (w *writer) put(decisions ...*policy.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range decisions {
		w.pending[store.KeyOf(d)] = d
		w.keep(store.KeyOf(d))
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

// flushed returns a channel that gives the outcome of writing everything that
// is pending now, checkpoints excepted.
func (w *writer) flushed() <-chan error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// flush must run under mu.
func (w *writer) flush() <-chan error {
	done := make(chan error, 1)
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
	switch {
	case w.failure != nil:
		err = fmt.Errorf("%d changes are not stored yet: %w", len(w.pending), w.failure)
	case w.undrafted != nil:
		err = fmt.Errorf("no checkpoint can be stored: %w", w.undrafted)
	}
	return w.saved, err
}

// run commits until ctx ends, and then what is pending once more.
func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	for {
		select {
		case <-ctx.Done():
			w.last(ctx)
			return
		case <-w.wake:
		}
		w.draft(ctx)
		select {
		case <-ctx.Done():
		case <-w.hurry:
		case <-time.After(gatherTime):
		}
		err := w.commit()
		if w.damaged(err) {
			w.reopen(ctx)
		}
		if err == nil {
			w.draft(ctx) // the next one
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryTime):
		}
		signal(w.wake)
	}
}

// last commits what is pending; state tells if that fails.
func (w *writer) last(ctx context.Context) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.drafted()
	_ = w.commit()
	w.draft(ctx)
	w.drafted()
	_ = w.commit()
}

// commit writes everything that is pending in one transaction, and with it the
// checkpoint that is ready.
func (w *writer) commit() error {
	w.mu.Lock()
	pending, waiting, ready := w.pending, w.waiting, w.ready
	w.pending, w.waiting = make(map[store.Key]*policy.Decision), nil
	var removed map[store.Key]bool
	if ready != nil {
		removed = maps.Clone(ready.removed)
	}
	w.writing = pending
	s := w.store
	w.mu.Unlock()

	var err error
	if len(pending) > 0 || ready != nil {
		err = s.Commit(batchOf(pending, ready, removed))
	}
	waiting = append(waiting, w.settle(err, pending, ready)...)
	for _, done := range waiting {
		done <- err
	}
	return err
}

// batchOf is what a transaction writes: what is pending, and the checkpoint that is
// ready, nil if none is, with what leaves with it.
func batchOf(pending map[store.Key]*policy.Decision, ready *draft, removed map[store.Key]bool) store.Batch {
	b := store.Batch{Put: make([]policy.Decision, 0, len(pending)), Remove: slices.Collect(maps.Keys(removed))}
	if ready != nil {
		b.Checkpoint, b.Counts = ready.checkpoint.head, ready.counts
	}
	for key, d := range pending {
		switch {
		case d == nil:
			b.Remove = append(b.Remove, key)
		case !removed[key]:
			b.Put = append(b.Put, *d)
		}
	}
	return b
}

// settle notes the outcome, and keeps what failed unless it is overtaken. It
// returns who waits for the checkpoint.
func (w *writer) settle(err error, pending map[store.Key]*policy.Decision, ready *draft) (waiting []chan<- error) {
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
	if ready != nil {
		waiting, ready.waiting = ready.waiting, nil
	}
	if err == nil {
		if ready != nil {
			w.ready, w.saved = nil, w.now()
		}
		return waiting
	}
	for key, d := range pending {
		if _, newer := w.pending[key]; !newer {
			w.pending[key] = d
		}
	}
	return waiting
}

// damaged reports whether committing, or writing the last draft, has met a damage.
func (w *writer) damaged(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Is(err, store.ErrDamaged) || errors.Is(w.undrafted, store.ErrDamaged)
}

// reopen has a store that was damaged while open salvaged, and everything
// that stands written into what comes of it.
func (w *writer) reopen(ctx context.Context) {
	w.drafted()
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
	w.store, w.undrafted = fresh, nil
	if w.ready != nil { // which of the files is free may have changed
		w.again(w.ready)
		w.ready = nil
	}
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
