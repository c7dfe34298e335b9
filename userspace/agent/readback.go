package agent

import (
	"fmt"
	"math/rand/v2"
	"time"

	"weir/loader"
	"weir/userspace/control"
	"weir/userspace/enforce"
)

const (
	readBackEvery  = 5 * time.Second
	readBackSample = 64 // decisions, and as many entries of sources; prefixes come up in turn
)

// readBack is what comparing the kernel's table with the ledger has found; the
// loader keeps book of programs, pins and packets. It belongs to the core.
type readBack struct {
	next        time.Time
	seen        uint64 // differences that the loader had found when we last looked
	checks      uint64
	differences uint64
	difference  string
	found       time.Time
}

// lookAtKernel compares a few decisions and entries, if it is time to. Where
// one of them, or anything else in the kernel, is not as it was left, the whole
// table is compared at once.
func (c *core) lookAtKernel(now time.Time) {
	r := &c.readBack
	k := c.a.engaged()
	if k == nil || c.enforcer == nil || c.failures > 0 || now.Before(r.next) && r.next.Sub(now) <= readBackEvery {
		return
	}
	r.next = now.Add(readBackEvery)
	r.checks++
	found := k.datapath.Checks().Differences
	differs, err := c.enforcer.ReadBack(k.datapath, c.ledger.Ledger, readBackSample, rand.IntN)
	if err != nil {
		c.a.log.Warn("what the kernel holds cannot be read back", "error", err)
		return
	}
	if found != r.seen || differs != "" {
		c.compare()
	}
	r.seen = found
}

// tableDiffered notes what comparing the whole table has put right.
func (r *readBack) tableDiffered(now time.Time, report enforce.Report) {
	r.differences++
	r.difference = fmt.Sprintf("of the kernel's table, %d entries were missing or different, and %d nobody had decided", report.Put, report.Deleted)
	r.found = now
}

// readBackStatus joins both books.
func (c *core) readBackStatus(checks loader.Checks) *control.ReadBack {
	r := &c.readBack
	s := &control.ReadBack{
		Checks: checks.Done + r.checks, Last: checks.Last,
		Differences: checks.Differences + r.differences, Repaired: checks.Repaired + r.differences,
		Difference: checks.Difference, Standing: checks.Standing,
	}
	if c.failures > 0 {
		s.Standing = "not everything that was decided could be put into the kernel's table"
	}
	found := checks.Found
	if r.found.After(found) {
		found, s.Difference = r.found, r.difference
	}
	if !found.IsZero() {
		s.Found = &found
	}
	return s
}
