package agent

import (
	"context"
	"time"

	"weir/userspace/store"
)

// Writing a checkpoint takes a second with a million sources, in which decisions
// and pins are committed. So most of it is written beforehand, in a goroutine of
// its own, where nothing counts it yet: a draft. A last transaction makes it the
// checkpoint, and has in it every decision made before, and the removals that are
// bound to it.

// drafts are the writer's checkpoints on their way, under its mu.
type drafts struct {
	next      *draft        // to be written; nil: none
	underway  *draft        // being written; nil: none
	ready     *draft        // written, to be committed; nil: none
	undrafted error         // why the last one could not be written
	saved     time.Time     // when the last one was committed
	idle      chan struct{} // has an element while none is being written
}

// draft is a checkpoint, and what is committed with it and not before.
type draft struct {
	checkpoint *checkpoint
	counts     *store.Counts // once they are written
	removed    map[store.Key]bool
	waiting    []chan<- error
}

func idle() chan struct{} {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	return c
}

// save has a checkpoint written, together with everything put before it and with
// the removal of keys. Those who wait are told when that is done.
func (w *writer) save(c *checkpoint, keys []store.Key, waiting []chan<- error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := &draft{checkpoint: c, removed: make(map[store.Key]bool, len(keys)), waiting: waiting}
	for _, key := range keys {
		d.removed[key] = true
	}
	if w.next != nil { // it is overtaken
		w.next.join(d)
	} else {
		w.next = d
	}
	signal(w.wake)
	if len(waiting) > 0 {
		signal(w.hurry)
	}
}

// join puts a newer checkpoint in the place of d.
func (d *draft) join(newer *draft) {
	for key := range newer.removed {
		d.removed[key] = true
	}
	d.checkpoint, d.waiting = newer.checkpoint, append(d.waiting, newer.waiting...)
}

// again has d written once more, unless a newer one is to be. It must run under mu.
func (w *writer) again(d *draft) {
	d.counts = nil
	if w.next != nil {
		d.join(w.next)
	}
	w.next = d
}

// keep has what is put now not leave with an older checkpoint. It must run under
// mu.
func (w *writer) keep(key store.Key) {
	for _, d := range []*draft{w.next, w.underway, w.ready} {
		if d != nil {
			delete(d.removed, key)
		}
	}
}

// checkpointed returns a channel that gives the outcome of writing everything
// that is pending now, the newest checkpoint included.
func (w *writer) checkpointed() <-chan error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range []*draft{w.next, w.underway, w.ready} {
		if d != nil && !w.closed {
			done := make(chan error, 1)
			d.waiting = append(d.waiting, done)
			signal(w.wake)
			signal(w.hurry)
			return done
		}
	}
	return w.flush()
}

// draft begins to write the next checkpoint, unless one is being written or was
// and is not committed.
func (w *writer) draft(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == nil || w.ready != nil {
		return
	}
	select {
	case <-w.idle:
	default:
		return
	}
	d, s := w.next, w.store
	w.underway, w.next = d, nil
	go func() {
		if w.outcome(d, d.write(s)) != nil {
			select {
			case <-ctx.Done():
			case <-time.After(retryTime):
			}
		}
		w.idle <- struct{}{}
		signal(w.wake)
	}()
}

// drafted waits until none is being written.
func (w *writer) drafted() {
	w.idle <- <-w.idle
}

// write writes the counts of d.
func (d *draft) write(s *store.Store) (err error) {
	if err = d.checkpoint.encode(); err == nil {
		d.counts, err = s.WriteCounts(d.checkpoint.counts)
	}
	return err
}

// outcome notes how writing d ended, and returns it.
func (w *writer) outcome(d *draft, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && w.undrafted == nil:
		w.log.Error("no checkpoint can be stored; after a crash more of the logs will be read again; it is tried again", "error", err)
	case err == nil && w.undrafted != nil:
		w.log.Info("checkpoints are stored again")
	}
	w.undrafted, w.underway = err, nil
	if err == nil {
		w.ready = d
		if len(d.waiting) > 0 {
			signal(w.hurry)
		}
		return nil
	}
	for _, done := range d.waiting {
		done <- err
	}
	d.waiting = nil
	w.again(d)
	return err
}
