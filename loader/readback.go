package loader

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
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
	Standing    string // one that could not be put right, and is still there
}

// Checks may be called at any time.
func (d *Datapath) Checks() Checks {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.checks
}

// differs notes that the kernel did not hold what was left there. What cannot
// be put right is said and counted once, not each time it is looked at. The
// lock is held.
func (d *Datapath) differs(what string, repaired bool) {
	if !repaired {
		d.checks.Standing = what
		if what == d.stood {
			return
		}
	}
	d.checks.Differences++
	d.checks.Difference, d.checks.Found = what, time.Now()
	if repaired {
		d.checks.Repaired++
		d.log.Warn("the kernel was not as it was left, and was put right", "difference", what)
	} else {
		d.log.Error("the kernel is not as it was left, and could not be put right", "difference", what)
	}
}

// readBack compares with what should be there what sync has not looked at: the
// pins, and what the programs that are attached do to a packet. The lock is
// held.
func (d *Datapath) readBack() {
	d.checkPins()
	d.checkCanaries()
	d.checks.Done++
	d.checks.Last = time.Now()
}

func (d *Datapath) checkPins() {
	removed, err := d.pins.reclaim()
	if err != nil {
		d.differs(fmt.Sprintf("the pin folder %s was removed, and cannot be made again (%v): enforcement ends with this process; a restart makes the folder anew (systemctl restart weir)", d.pins.dir, err), false)
		return
	}
	what, errs := "", []error(nil)
	if removed {
		what = fmt.Sprintf("the pin folder %s was removed", d.pins.dir)
	}
	if !d.pins.holdMaps(d.layout, d.maps()) {
		what = cmp.Or(what, "pins of maps were removed")
		errs = append(errs, d.pins.pinMaps(d.layout, d.maps()))
	}
	for index, a := range d.attached {
		restored, err := a.keep()
		if restored || err != nil {
			what = cmp.Or(what, fmt.Sprintf("the pin of what is attached to the interface of index %d was removed", index))
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); what != "" {
		d.logError("restore pins", d.pins.dir, err)
		d.differs(what, err == nil)
	}
}

func (d *Datapath) checkCanaries() {
	var programs []*ebpf.Program
	for _, p := range []*ebpf.Program{d.objects.WeirXdp, d.objects.WeirTc, d.objects.WeirTcBare} {
		id := idOf(p)
		for _, a := range d.attached {
			if a.program == id {
				programs = append(programs, p)
				break
			}
		}
	}
	var err error
	if !d.planted {
		err = d.plantCanaries()
		d.planted = true
	}
	wrong, failed := d.flyCanaries(programs)
	err = errors.Join(err, failed)
	if wrong != "" && (d.letThrough == nil || !d.letThrough()) {
		d.canaries.Lock()
		ports := d.ports
		d.canaries.Unlock()
		err = errors.Join(d.SetPorts(ports), d.plantCanaries())
		still, again := d.flyCanaries(programs)
		err = errors.Join(err, again)
		d.differs(wrong, still == "" && err == nil)
	}
	d.logError("read back", "program", err)
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
