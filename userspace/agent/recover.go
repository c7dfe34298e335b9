package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/policy"
	"weir/userspace/enforce"
)

// recover has the core take over what the kernel still holds of what a
// damaged store has lost, and waits until that is stored again.
func (a *Agent) recover(k *kernel) error {
	var pins, automatic int
	var written <-chan error
	var err error
	doErr := a.core.do(context.Background(), func() {
		pins, automatic, err = a.core.recover(k.enforcer)
		written = a.writer.flushed()
	})
	if err = errors.Join(doErr, err); err != nil {
		return fmt.Errorf("recover from the kernel's table what the store has lost: %w", err)
	}
	if pins+automatic > 0 {
		a.log.Error("the damaged store had lost decisions; those that the kernel's table still held are taken over from there, without evidence; "+
			"what is only timed there counts as a rule's decision: look at weir list, and pin again what is missing",
			"decisions", automatic, "pins", pins)
	} else {
		a.log.Info("the store was damaged; the kernel's table holds nothing that the store lacks")
	}
	if <-written == nil { // else the writer says why, and tries again
		a.completed()
	}
	return nil
}

// completed says that nothing is left to recover.
func (a *Agent) completed() {
	if err := a.writer.current().Completed(); err != nil {
		a.log.Warn("what the damaged store had lost will be looked for again at the next start", "error", err)
	}
}

// recover takes over into ledger and store what the kernel's table holds and
// a damaged store has lost; comparing the table with the ledger would remove
// it. It must run in a turn of the core.
func (c *core) recover(e *enforce.Enforcer) (pins, automatic int, err error) {
	now := c.a.o.Now()
	chunk := make([]policy.Decision, 0, enterChunk)
	enter := func() {
		c.ledger.Put(now, chunk...)
		for i := range chunk {
			pin, decision := c.ledger.Get(chunk[i].Target)
			if chunk[i].Pinned {
				decision = pin
				pins++
			} else {
				automatic++
			}
			c.a.writer.put(decision)
		}
		chunk = chunk[:0]
	}
	for d, err := range e.Recover(now, c.hasTarget) {
		if err != nil {
			return pins, automatic, err
		}
		if chunk = append(chunk, d); len(chunk) == enterChunk {
			enter()
		}
	}
	enter()
	return pins, automatic, nil
}

// hasTarget reports whether the ledger says anything of what d is on, which was read
// back from the kernel's table.
func (c *core) hasTarget(d *policy.Decision) bool {
	pin, decision := c.ledger.Get(d.Target)
	return pin != nil || decision != nil && !d.Pinned || c.ledger.Configured(d.Prefix) || c.ledger.Listed(d.Prefix) != nil
}

// outlasts reports whether stands, which was read back from the kernel's
// table, is no milder than the rule's decision d and ends later. Otherwise d
// is the better one, as it tells why.
func outlasts(stands, d *policy.Decision) bool {
	// Actions on sources are numbered from mild to harsh; the end was rounded.
	return stands.Action >= d.Action && stands.Until.Sub(d.Until) > time.Second
}
