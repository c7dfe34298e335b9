package enforce

import (
	"fmt"
	"iter"
	"time"

	"weir/loader"
	"weir/policy"
)

// RecoveredRule is the rule of decisions that were read back from the table.
const RecoveredRule = "recovered"

// RecoveredBy is who made the pins that were read back from the table.
const RecoveredBy = "recovered"

const recoveredReason = "recovered from the kernel's table: the store was damaged"

// Recover reads the table back: it yields the decision that each entry stands
// for, except those that are known and those that have ended at now.
//
// The table does not tell who decided. What never ends was pinned, and so was
// what allows, since no rule does; all else comes back as a rule's decision.
// Ends are given to the second.
//
// The table is read while the caller iterates, who must not call Apply or
// Reconcile meanwhile. An error ends the iteration.
func (e *Enforcer) Recover(now time.Time, known func(*policy.Decision) bool) iter.Seq2[policy.Decision, error] {
	return func(yield func(policy.Decision, error) bool) {
		if e == nil {
			return
		}
		for entry, err := range e.o.Table.Entries() {
			if err != nil {
				yield(policy.Decision{}, fmt.Errorf("read the verdict table: %w", err))
				return
			}
			d, err := decisionOf(entry)
			if err != nil {
				e.o.Logger.Warn("an entry of the verdict table cannot be recovered", "error", err)
				continue
			}
			d.Since = now
			if !d.Ended(now) && !known(&d) && !yield(d, nil) {
				return
			}
		}
	}
}

// decisionOf returns the decision that an entry stands for, as far as the
// entry tells.
func decisionOf(e loader.Entry) (policy.Decision, error) {
	d := policy.Decision{Target: policy.Target{Prefix: e.Prefix}, Reason: recoveredReason}
	switch e.Action {
	case loader.ActionAllow:
		d.Action = policy.Allow
	case loader.ActionLimit:
		d.Action, d.Rate = policy.Limit, policy.Rate{Every: e.Every, Burst: e.Burst, Bytes: e.Bytes}
	case loader.ActionDrop:
		d.Action = policy.Drop
	case loader.ActionTarpit:
		d.Action = policy.Tarpit
	default:
		return d, fmt.Errorf("%v has an unknown %v", e.Prefix, e.Action)
	}
	if !e.Expires.IsZero() {
		d.Until = e.Expires.Round(time.Second)
	}
	if d.Until.IsZero() || d.Action == policy.Allow {
		d.Pinned, d.By = true, RecoveredBy
	} else {
		d.Rule = RecoveredRule
	}
	return d, nil
}
