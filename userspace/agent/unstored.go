package agent

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"weir/policy"
	"weir/userspace/enforce"
	"weir/userspace/intake"
)

// unstored is what an earlier run had put into the kernel's table and was killed
// too soon to store. The log gives it again, so it stays in force until that
// has been read. It belongs to the core.
type unstored struct {
	since     time.Time
	decisions []policy.Decision
}

const (
	unstoredMost  = 4096             // decisions, more than anybody makes between two groups that are stored
	unstoredLeast = 10 * time.Second // for which they stay: reading has begun by then
	unstoredLong  = time.Hour        // for which they stay at most
	inTime        = time.Second      // how late an input's last line was read at most when all before has been
)

// takeOver makes the kernel's table, which an earlier run may have left, hold what is in
// force, and finds what was unstored. What is more than there can be has another
// cause, and none of it stays.
func (c *core) takeOver(e *enforce.Enforcer) (enforce.Report, error) {
	c.unstored = unstored{since: c.a.o.Now()}
	found, report, err := e.TakeOver(c.inForce(), enforce.Leave{
		Now:  c.unstored.since,
		Most: unstoredMost,
		Stay: func(d *policy.Decision) bool {
			return !d.Pinned && !c.hasTarget(d) && !allowed(c.ledger.Ledger, d)
		},
	})
	c.unstored.decisions = found
	return report, err
}

// leaves reports whether a prefix is blocked only because of a run before.
func (u *unstored) leaves(p netip.Prefix) bool {
	return slices.ContainsFunc(u.decisions, func(d policy.Decision) bool { return d.Prefix == p })
}

// inForce is what the kernel must hold: what the ledger says, and what is left
// of a run before.
func (c *core) inForce() iter.Seq[*policy.Decision] {
	return func(yield func(*policy.Decision) bool) {
		for d := range c.ledger.InForce() {
			if !yield(d) {
				return
			}
		}
		now := c.a.o.Now()
		for i := range c.unstored.decisions {
			if d := &c.unstored.decisions[i]; !d.Ended(now) && !c.hasTarget(d) && !yield(d) {
				return
			}
		}
	}
}

// forgetUnstored takes out of the kernel what the logs have not given again, once
// they are read, and at once what has come to be allowed.
func (c *core) forgetUnstored(now time.Time) {
	u := &c.unstored
	left := len(u.decisions)
	if left == 0 {
		return
	}
	stayed := now.Sub(u.since).Abs()
	read := stayed >= unstoredLong || stayed >= unstoredLeast && !c.late()
	var changes []policy.Change
	u.decisions = slices.DeleteFunc(u.decisions, func(d policy.Decision) bool {
		if !read && !allowed(c.ledger.Ledger, &d) {
			return false
		}
		if !c.hasTarget(&d) {
			changes = append(changes, policy.Change{Prefix: d.Prefix})
		}
		return true
	})
	if read {
		c.a.log.Info("the logs are read again", "decisions_not_stored", left, "not_made_again", len(changes))
	}
	_ = c.enforce(changes) // said and tried again there
}

// late reports whether an input has not read yet what was written before.
func (c *core) late() bool {
	return slices.ContainsFunc(c.a.followers(), func(f *follower) bool {
		s := f.input.Stats()
		return s.Lag > inTime && (s.Behind > 0 || s.Type != intake.TypeFile)
	})
}
