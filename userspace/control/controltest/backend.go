// Package controltest has a Backend that keeps its decisions in memory, for
// the tests of whatever speaks to an agent. It may know package control and
// the policy's words. No program imports it.
package controltest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"weir/policy"
	"weir/userspace/control"
)

// Backend is a control.Backend without an agent. The zero Backend is empty.
type Backend struct {
	Health   control.Status  // what Status answers
	Allowed  []control.Allow // allow entries, told by Explain
	Dropped  uint64          // packets dropped, told of every drop
	Fail     error           // returned by changes, if set
	Chunks   []int           // sizes of the chunks that Pin was given
	mu       sync.Mutex
	standing map[key]policy.Decision
	mail     map[string]control.User
}

type key struct {
	policy.Target
	pinned bool
}

// Put makes decisions stand.
func (b *Backend) Put(decisions ...policy.Decision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.standing == nil {
		b.standing = map[key]policy.Decision{}
	}
	for _, d := range decisions {
		b.standing[key{d.Target, d.Pinned}] = d
	}
}

// Len returns how many decisions stand.
func (b *Backend) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.standing)
}

// Get returns the pin, or the automatic decision, on target.
func (b *Backend) Get(target policy.Target, pinned bool) (policy.Decision, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok := b.standing[key{target, pinned}]
	return d, ok
}

// Pinned returns the pin of what is written so.
func (b *Backend) Pinned(source string) (policy.Decision, bool) {
	target, err := control.ParseTarget(source)
	if err != nil {
		return policy.Decision{}, false
	}
	return b.Get(target, true)
}

// sorted returns what stands and match selects, in the order of the contract.
func (b *Backend) sorted(match func(d *policy.Decision) bool) []policy.Decision {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []policy.Decision
	for _, d := range b.standing {
		if match(&d) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(x, y policy.Decision) int {
		switch {
		case x.User != "" && y.User != "":
			return strings.Compare(x.User, y.User)
		case x.User != "":
			return -1
		case y.User != "":
			return 1
		}
		if c := x.Prefix.Compare(y.Prefix); c != 0 || x.Pinned == y.Pinned {
			return c
		}
		if x.Pinned {
			return -1
		}
		return 1
	})
	return found
}

func (b *Backend) row(d *policy.Decision) control.Row {
	row := control.RowOf(d)
	row.InForce = true
	if d.Action == policy.Drop {
		row.Dropped, row.Attempts = b.Dropped, b.Dropped/3
	}
	if _, pinned := b.Get(d.Target, true); pinned && !d.Pinned {
		row.InForce, row.OverriddenBy = false, "pin"
	}
	return row
}

// Decisions yields what f matches.
func (b *Backend) Decisions(_ context.Context, f control.Filter) iter.Seq2[control.Row, error] {
	return func(yield func(control.Row, error) bool) {
		for _, d := range b.sorted(f.Matches) {
			if !yield(b.row(&d), nil) {
				return
			}
		}
	}
}

// Explain tells of the decisions on target and on what covers it.
func (b *Backend) Explain(_ context.Context, target policy.Target) (*control.Explanation, error) {
	e := &control.Explanation{Target: target.String(), Mode: b.Health.Mode, Verdict: "pass", Why: "nothing that stands concerns it", Allow: b.Allowed}
	for _, d := range b.sorted(func(d *policy.Decision) bool {
		return d.Target == target || d.User == "" && target.User == "" &&
			d.Prefix.Bits() <= target.Prefix.Bits() && d.Prefix.Contains(target.Prefix.Addr())
	}) {
		j := control.JudgementOf(&d)
		j.Row = b.row(&d)
		e.Decisions = append(e.Decisions, j)
	}
	if len(e.Decisions) == 0 && len(e.Allow) == 0 {
		return nil, control.ErrNotFound
	}
	slices.Reverse(e.Decisions) // the longest prefix first
	slices.SortStableFunc(e.Decisions, func(x, y control.Judgement) int {
		if x.Pinned == y.Pinned {
			return 0
		}
		if x.Pinned {
			return -1
		}
		return 1
	})
	if len(e.Decisions) > 0 {
		first := &e.Decisions[0]
		first.Wins, e.InForce, e.Verdict = true, e.Mode == "enforce", first.Action.String()
		e.Why = "it is the only decision that concerns it"
		if first.Pinned && len(e.Decisions) > 1 {
			e.Why = "a pin wins over automatic decisions"
		}
	}
	if len(e.Allow) > 0 {
		e.Verdict, e.Why = "allow", "an allow entry of the configuration covers it, and allow always wins"
	}
	return e, nil
}

// Status returns Health.
func (b *Backend) Status(context.Context) (*control.Status, error) { return &b.Health, nil }

// Pin makes pins stand.
func (b *Backend) Pin(_ context.Context, pins []policy.Decision) error {
	if b.Fail != nil {
		return b.Fail
	}
	b.Chunks = append(b.Chunks, len(pins))
	b.Put(pins...)
	return nil
}

// Unpin lifts pins.
func (b *Backend) Unpin(_ context.Context, targets []policy.Target) (missing []policy.Target, err error) {
	if b.Fail != nil {
		return nil, b.Fail
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range targets {
		if _, ok := b.standing[key{t, true}]; !ok {
			missing = append(missing, t)
		}
		delete(b.standing, key{t, true})
	}
	return missing, nil
}

// Release lifts the automatic decision on target.
func (b *Backend) Release(ctx context.Context, target policy.Target) (*control.ReleaseResult, error) {
	if b.Fail != nil {
		return nil, b.Fail
	}
	d, ok := b.Get(target, false)
	if !ok {
		return nil, fmt.Errorf("no automatic decision stands: %w", control.ErrNotFound)
	}
	result := &control.ReleaseResult{Released: []control.Row{b.row(&d)}}
	b.mu.Lock()
	delete(b.standing, key{target, false})
	b.mu.Unlock()
	if e, err := b.Explain(ctx, target); err == nil {
		for _, j := range e.Decisions {
			result.Standing = append(result.Standing, j.Row)
		}
	}
	return result, nil
}

// Panic lets everything through.
func (b *Backend) Panic(_ context.Context, p control.Panic) error {
	if b.Fail != nil {
		return b.Fail
	}
	b.Health.Panic = &p
	return nil
}

// Lift ends a panic.
func (b *Backend) Lift(context.Context) (*control.Panic, error) {
	p := b.Health.Panic
	if p == nil {
		return nil, control.ErrNotFound
	}
	b.Health.Panic = nil
	return p, nil
}

// Confirm ends a wait for a confirmation.
func (b *Backend) Confirm(_ context.Context, again bool) (*control.Confirmation, error) {
	c := b.Health.Confirm
	if c == nil {
		return nil, control.ErrNotFound
	}
	if again {
		c.Reverted = false
	} else if !c.Reverted {
		b.Health.Confirm = nil
	}
	return c, nil
}
