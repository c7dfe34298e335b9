package controltest

import (
	"context"
	"iter"
	"maps"
	"slices"

	"weir/policy"
	"weir/userspace/control"
)

// SetMail makes known what users have sent.
func (b *Backend) SetMail(users ...control.User) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mail == nil {
		b.mail = map[string]control.User{}
	}
	for _, u := range users {
		b.mail[u.User] = u
	}
}

// Users yields the users that SetMail made known.
func (b *Backend) Users(ctx context.Context) iter.Seq2[control.User, error] {
	return func(yield func(control.User, error) bool) {
		b.mu.Lock()
		names := slices.Sorted(maps.Keys(b.mail))
		b.mu.Unlock()
		for _, name := range names {
			u, err := b.User(ctx, name)
			u.Sources = nil
			if !yield(*u, err) {
				return
			}
		}
	}
}

// User tells what SetMail made known, and what stands.
func (b *Backend) User(_ context.Context, name string) (*control.User, error) {
	b.mu.Lock()
	u, found := b.mail[name]
	b.mu.Unlock()
	if !found {
		u = control.User{User: name}
	}
	target := policy.Target{User: name}
	pin, pinned := b.Get(target, true)
	automatic, decided := b.Get(target, false)
	if pinned && u.Decision == nil {
		row := b.row(&pin)
		u.Decision = &row
	}
	if decided && (!pinned || pin.Action == policy.OwnQuota) {
		u.Own = u.Decision
		row := b.row(&automatic)
		u.Decision = &row
	}
	return &u, nil
}

// ResetUser forgets what SetMail made known, and lifts pins.
func (b *Backend) ResetUser(ctx context.Context, name string) (*control.UserReset, error) {
	u, err := b.User(ctx, name)
	if err != nil {
		return nil, err
	}
	result := &control.UserReset{}
	for _, q := range u.Quotas {
		if q.Of == "user" && q.Spent > 0 {
			result.Spent = append(result.Spent, q)
		}
	}
	if d := u.Decision; d != nil && (d.Pinned || d.Rule == policy.QuotaRule) {
		result.Lifted = append(result.Lifted, *d)
	}
	b.mu.Lock()
	delete(b.mail, name)
	delete(b.standing, key{policy.Target{User: name}, true})
	d, stands := b.standing[key{policy.Target{User: name}, false}]
	b.mu.Unlock()
	if stands && d.Rule != policy.QuotaRule {
		row := b.row(&d)
		result.Stands = &row
	}
	return result, nil
}
