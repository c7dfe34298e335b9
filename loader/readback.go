package loader

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// Checks tells how often what the kernel holds was compared with what it
// should hold, and what came of it.
type Checks struct {
	Done        uint64
	Last        time.Time
	Differences uint64 // found
	Repaired    uint64 // of those
	Difference  string // the last one, in words; "" if there was none
	Found       time.Time
}

// Checks may be called at any time.
func (d *Datapath) Checks() Checks {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.checks
}

// differs notes that the kernel did not hold what was left there. The lock is
// held.
func (d *Datapath) differs(what string, repaired bool) {
	d.checks.Differences++
	d.checks.Difference, d.checks.Found = what, time.Now()
	if repaired {
		d.checks.Repaired++
		d.log.Warn("the kernel was not as it was left, and was put right", "difference", what)
	} else {
		d.log.Error("the kernel is not as it was left, and could not be put right", "difference", what)
	}
}

// dropLost lets go of an attachment whose program is not where it was put, and
// says what became of it, or "" if nothing did.
func (d *Datapath) dropLost(l netlink.Link) string {
	index, name := l.Attrs().Index, l.Attrs().Name
	a := d.attached[index]
	if a == nil {
		return ""
	}
	holds, err := a.holds(l)
	switch {
	case err != nil:
		d.logError("look at what is attached", name, err)
		return ""
	case holds == a.program:
		return ""
	}
	what := fmt.Sprintf("the program was taken off %s", name)
	if holds != 0 {
		what = fmt.Sprintf("another program (%s) had taken its place on %s", programName(uint32(holds)), name)
		repair := d.programFor(a.where, l)
		if err := a.replace(repair); err == nil {
			a.program = idOf(repair)
			d.differs(what, true)
			return ""
		}
	}
	d.logError("let go of what is lost", name, d.detach(index))
	return what
}
