package agent

import (
	"context"
	"iter"
	"slices"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/store"
)

// Users implements control.Backend.
func (a *Agent) Users(ctx context.Context) iter.Seq2[control.User, error] {
	return func(yield func(control.User, error) bool) {
		var names []string
		err := a.core.do(ctx, func() {
			for d := range a.core.ledger.OnUsers() {
				names = append(names, d.User)
			}
		})
		if err != nil {
			yield(control.User{}, err)
			return
		}
		a.judge.Flow(func(f *policy.Flow) { names = append(names, f.Quotas.Users(a.o.Now())...) })
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			u, err := a.User(ctx, name)
			if err != nil {
				yield(control.User{}, err)
				return
			}
			u.Sources = nil
			if !yield(*u, nil) {
				return
			}
		}
	}
}

// User implements control.Backend.
func (a *Agent) User(ctx context.Context, name string) (*control.User, error) {
	u := &control.User{User: name}
	err := a.core.do(ctx, func() {
		pin, automatic := a.core.ledger.Get(policy.Target{User: name})
		d := policy.Prevailing(pin, automatic)
		if d != nil {
			row := a.core.row(d)
			u.Decision = &row
		}
		if pin != nil && pin != d {
			row := a.core.row(pin)
			u.Own = &row
		}
	})
	now := a.o.Now()
	a.judge.Flow(func(f *policy.Flow) {
		u.Quotas, u.Exempt = quotaUses(f, now, name)
		for _, s := range f.Known.Of(name) {
			u.Sources = append(u.Sources, control.Familiar{
				Source: s.Source.String(), First: time.Unix(0, s.First).UTC(), Last: time.Unix(0, s.Last).UTC(), Known: f.Known.Knows(name, s.Source, now),
			})
		}
	})
	slices.SortFunc(u.Sources, func(a, b control.Familiar) int { return a.First.Compare(b.First) })
	return u, err
}

func quotaUses(f *policy.Flow, now time.Time, name string) (out []control.QuotaUse, exempt bool) {
	uses, exempt := f.Quotas.Of(now, name)
	for i := range uses {
		out = append(out, control.QuotaUseOf(&uses[i]))
	}
	return out, exempt
}

// ResetUser implements control.Backend.
func (a *Agent) ResetUser(ctx context.Context, name string) (*control.UserReset, error) {
	result := &control.UserReset{}
	target := policy.Target{User: name}
	err := a.change(ctx, func(c *core) error {
		c.takeTold()
		a.judge.Flow(func(f *policy.Flow) {
			uses, _ := quotaUses(f, a.o.Now(), name)
			for _, u := range uses {
				if u.Of == policy.OfUser.String() && u.Spent > 0 {
					result.Spent = append(result.Spent, u)
				}
			}
			f.Reset(name)
		})
		var lifted []store.Key
		pin, automatic := c.ledger.Get(target)
		if pin != nil {
			lifted = append(lifted, c.lift(pin, result))
		}
		if automatic != nil && automatic.Rule == policy.QuotaRule {
			lifted = append(lifted, c.lift(automatic, result))
		} else if automatic != nil {
			row := c.row(automatic)
			result.Stands = &row
		}
		c.stand(target)
		c.checkpoint(lifted...) // or what was spent would come back with the last one
		return nil
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// lift takes a decision on a user away, and returns what it is stored under.
func (c *core) lift(d *policy.Decision, result *control.UserReset) store.Key {
	result.Lifted = append(result.Lifted, c.row(d))
	c.ledger.Remove(d.Target, d.Pinned, !d.Pinned)
	return store.KeyOf(d)
}

// outdate takes away what the quotas decided about a user for whom the
// operator now sets others.
func (c *core) outdate(pin *policy.Decision) {
	_, automatic := c.ledger.Get(pin.Target)
	if pin.Action != policy.OwnQuota || automatic == nil || automatic.Rule != policy.QuotaRule {
		return
	}
	c.ledger.Remove(pin.Target, false, true)
	c.a.writer.remove(store.KeyOf(automatic))
}
