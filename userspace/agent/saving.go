package agent

import (
	"time"

	"weir/policy"
	"weir/userspace/store"
)

// saving is a checkpoint under way, or the next one, and what is bound to it.
// It is taken in slices, between which records are read and judged.
type saving struct {
	*checkpoint
	removed []store.Key    // that leave the store with it
	waiting []chan<- error // who are told when it is durable
	took    time.Duration  // so far
	last    time.Time      // when the last slice ended
	logged  []policy.Event // that the judge is told of when its state is written
}

const (
	sliceTime  = time.Millisecond // of a slice at most
	sliceShare = 10               // of the time since the last slice, one part is the next one's if nobody waits
	sliceLeast = 16               // steps of the first slice: what is little is taken at once
	maxLogged  = 1 << 16          // events that the judge is not told of for now
)

// checkpoint has one taken that is not older than now, and binds to it what must
// leave the store with it and not before: the engine has changed in a way that
// records since the last one would contradict.
func (c *core) checkpoint(removed ...store.Key) {
	if c.next == nil {
		c.next = &saving{}
	}
	c.next.removed = append(c.next.removed, removed...)
	c.bound = true
	if c.saving == nil {
		c.begin()
	}
}

// begin begins the next checkpoint, and ends it as well if it is a small one.
func (c *core) begin() {
	s := c.next
	c.saving, c.next = s, nil
	begun := time.Now()
	c.settle(c.a.o.Now(), true) // their lines will not be read again
	c.takeTold()
	var err error
	if s.checkpoint, err = newCheckpoint(c.positions, c.pipeline, c.a.judge); err != nil {
		c.a.log.Error("no checkpoint can be taken; after a crash more of the logs will be read again", "error", err)
		c.saving = nil
		for _, done := range s.waiting {
			done <- err
		}
		return
	}
	c.dirty, c.saved = false, c.a.o.Now()
	s.took = time.Since(begun)
	c.slice(sliceLeast)
}

// slice goes on with the checkpoint for a while, some steps at least.
func (c *core) slice(least int) {
	s := c.saving
	begun := time.Now()
	most := sliceTime
	if len(s.waiting) == 0 {
		most = min(most, begun.Sub(s.last)/sliceShare)
	}
	done := false
	for n := 0; !done && (n < least || time.Since(begun) < most); n++ {
		if done = s.step(); s.counted {
			c.tellLogged()
		}
	}
	s.last = time.Now()
	s.took += s.last.Sub(begun)
	if !done {
		return
	}
	c.pause = max(checkpointEvery, checkpointShare*s.took)
	c.saving = nil
	gone := s.removed[:0]
	for _, key := range s.removed {
		if pin, automatic := c.ledger.Get(key.Target); key.Pinned && pin == nil || !key.Pinned && automatic == nil {
			gone = append(gone, key) // and nothing new has taken its place
		}
	}
	c.a.writer.save(s.checkpoint, gone, s.waiting)
	if c.next != nil {
		c.begin()
	}
}

// written returns a channel that gives the outcome of writing what the change at
// hand has done, and the newest checkpoint if it is bound to one.
func (c *core) written() <-chan error {
	s := c.next
	if s == nil {
		s = c.saving
	}
	switch {
	case !c.bound:
		return c.a.writer.flushed()
	case s == nil: // it is the writer's
		return c.a.writer.checkpointed()
	}
	done := make(chan error, 1)
	s.waiting = append(s.waiting, done)
	return done
}

// finish takes the checkpoints that are due to their end.
func (c *core) finish() {
	for c.saving != nil {
		c.slice(1 << 20)
	}
}

// logs tells the judge of an event of a log; while the judge's state is being
// written, later: what is written must not hold what will be read again.
func (c *core) logs(e *policy.Event) {
	s := c.saving
	if s == nil || s.counted {
		c.a.judge.Logged(e)
		return
	}
	if s.logged = append(s.logged, *e); len(s.logged) < maxLogged {
		return
	}
	for !s.counted {
		s.step()
	}
	c.tellLogged()
}

func (c *core) tellLogged() {
	for i := range c.saving.logged {
		c.a.judge.Logged(&c.saving.logged[i])
	}
	c.saving.logged = nil
}
