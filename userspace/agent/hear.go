package agent

import (
	"context"
	"sync/atomic"
	"time"

	"weir/policy"
)

// heard is an event that does not come from a log.
type heard struct {
	event  policy.Event
	text   string // for the evidence
	counts bool   // false: it is only said so that the log's telling does not count
}

// ears take events from other goroutines to the core. Who brings one does
// not wait; what has no room is lost, and counted.
type ears struct {
	queue chan heard
	lost  atomic.Uint64
}

const (
	maxHeard  = 1 << 16 // events that may wait
	hearBatch = 256     // that the core takes at once
)

func newEars() *ears { return &ears{queue: make(chan heard, maxHeard)} }

// hear brings an event.
func (s *ears) hear(h heard) {
	select {
	case s.queue <- h:
	default:
		s.lost.Add(1)
	}
}

// listen hands what was heard to the core until ctx ends.
func (s *ears) listen(ctx context.Context, c *core) {
	batch := make([]heard, 0, hearBatch)
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-s.queue:
			batch = append(batch[:0], h)
		}
		for len(batch) < hearBatch {
			select {
			case h := <-s.queue:
				batch = append(batch, h)
				continue
			default:
			}
			break
		}
		if c.do(ctx, func() { c.hear(batch) }) != nil {
			return // the agent is stopping
		}
	}
}

// hear takes a batch of events that do not come from a log.
func (c *core) hear(batch []heard) {
	c.input = &c.heard
	for i := range batch {
		c.report(&batch[i], c)
	}
	c.apply()
	c.tell()
	c.dirty = true
}

// settle judges the lines that no report came for, or all that wait for one.
func (c *core) settle(now time.Time, all bool) {
	due := c.told.release(now, all)
	for i := range due {
		c.input = due[i].input
		c.take(&due[i].event, []byte(due[i].text), now, c)
	}
	if len(due) > 0 {
		c.apply()
		c.tell()
		c.dirty = true
	}
}

// startHearing begins to take events, and to tell reports from lines.
func (a *Agent) startHearing() error {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.ears.listen(ctx, a.core) }()
	a.cleanups = append(a.cleanups, cleanup{"reports", func() error { stop(); <-done; return nil }})
	return nil
}

// report takes an event of a mail server's, or of another witness.
func (p *pipeline) report(h *heard, to observer) {
	var latest time.Time
	if p.latest != nil {
		latest = p.latest()
	}
	if !p.told.report(&h.event, latest) || !h.counts {
		return
	}
	p.take(&h.event, []byte(h.text), latest, to)
}
