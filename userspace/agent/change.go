package agent

import (
	"context"
	"errors"
	"fmt"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/store"
)

// Pin implements control.Backend.
func (a *Agent) Pin(ctx context.Context, pins []policy.Decision) error {
	return a.change(ctx, func(c *core) error {
		err := c.enforce(c.ledger.Put(a.o.Now(), pins...))
		kept := make([]*policy.Decision, 0, len(pins))
		for i := range pins {
			if pin, _ := c.ledger.Get(pins[i].Target); pin != nil {
				kept = append(kept, pin)
			}
			c.outdate(&pins[i])
			c.stand(pins[i].Target)
		}
		a.writer.put(kept...)
		return err
	})
}

// Unpin implements control.Backend.
func (a *Agent) Unpin(ctx context.Context, targets []policy.Target) (missing []policy.Target, err error) {
	err = a.change(ctx, func(c *core) error {
		var changes []policy.Change
		var keys []store.Key
		for _, t := range targets {
			removed, changed := c.ledger.Remove(t, true, false)
			if len(removed) == 0 {
				missing = append(missing, t)
				continue
			}
			keys = append(keys, store.KeyOf(&removed[0]))
			c.stand(t)
			changes = append(changes, changed...)
		}
		err := c.enforce(changes)
		a.writer.remove(keys...)
		return err
	})
	return missing, err
}

// Release implements control.Backend. The checkpoint that is committed with
// it makes sure that the released decision does not come back when the log is
// read again after a crash.
func (a *Agent) Release(ctx context.Context, target policy.Target) (*control.ReleaseResult, error) {
	result := &control.ReleaseResult{}
	var standing []*policy.Decision
	err := a.change(ctx, func(c *core) error {
		_, d := c.ledger.Get(target)
		if d == nil {
			return fmt.Errorf("%v: no automatic decision stands on it: %w", target, control.ErrNotFound)
		}
		row := c.row(d)
		a.askKernel(&row, d, a.protected())
		result.Released = append(result.Released, row)
		c.engine.Release(d.Target, a.o.Now())
		_, changes := c.ledger.Remove(target, false, true)
		err := c.enforce(changes)
		if target.User != "" {
			a.judge.Flow(func(f *policy.Flow) { f.Reset(target.User) })
			c.stand(target)
		}
		c.checkpoint(store.KeyOf(d))
		for _, concern := range c.ledger.LookupPrefix(target.Prefix) {
			standing = append(standing, concern.Decision)
			result.Standing = append(result.Standing, c.row(concern.Decision))
		}
		return err
	})
	attached := a.protected()
	for i, d := range standing {
		a.askKernel(&result.Standing[i], d, attached)
	}
	if err != nil && len(result.Released) == 0 {
		return nil, err
	}
	return result, err
}

// change runs f in a turn of the core and waits until what it did is durable. An
// error of enforcing is returned when that is done: the change stands, and
// the agent goes on trying to enforce it.
func (a *Agent) change(ctx context.Context, f func(c *core) error) error {
	var enforced error
	var written <-chan error
	err := a.core.do(ctx, func() {
		a.core.bound = false
		enforced = f(a.core)
		written = a.core.written()
	})
	if err != nil {
		return err
	}
	if errors.Is(enforced, control.ErrNotFound) {
		return enforced
	}
	if enforced != nil {
		enforced = fmt.Errorf("recorded, but not in force yet; the agent keeps trying: %w", enforced)
	}
	select {
	case err := <-written:
		if err != nil {
			err = fmt.Errorf("in force, but not stored yet; the agent keeps trying, and a restart before that would lose it: %w", err)
		}
		return errors.Join(enforced, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
