package loader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// settleTime lets a burst of netlink messages end before it is acted on.
	settleTime = 20 * time.Millisecond
	// retryTime is how soon what failed is tried again.
	retryTime = time.Second
	// reviewTime is how soon everything is looked at again without a netlink
	// message: links can be detached, and pins removed, in silence.
	reviewTime = 5 * time.Second
	// endsTime is how often drops that end soon are looked for.
	endsTime = time.Second
)

// Follow attaches the program to the selected interfaces and keeps it so
// until ctx ends: interfaces that appear, vanish, change their name or the
// default route are followed. A selection is made of names, patterns as in
// [path.Match], and "auto", the interfaces that carry a default route.
//
// It begins with what an earlier run left: links of selected interfaces are
// given the new program without a gap, those of others are detached, then
// maps of other layouts are removed. What is attached stays so when Follow
// returns.
//
// changed is called, on the goroutine of Follow, with all attachments after
// that first pass and then whenever they change. An interface that cannot
// carry the program, or is not there, has mode none and a reason, and is
// attached as soon as it can be.
//
// Every few seconds it looks whether the kernel still holds what was left
// there, and puts right what does not: [Datapath.Checks] tells.
//
// Follow works in the network namespace of its thread. It returns nil when
// ctx ends, and an error if the selection is invalid, the first pass cannot
// list interfaces, or another Follow is running.
func (d *Datapath) Follow(ctx context.Context, selection []string, changed func([]Attachment)) error {
	if err := validateSelection(selection); err != nil {
		return err
	}
	if !d.following.TryLock() {
		return errors.New("interfaces are being followed already")
	}
	defer d.following.Unlock()

	settled, stop := context.WithCancel(ctx)
	var settling sync.WaitGroup
	settling.Go(func() { d.keepSettled(settled) })
	defer func() { stop(); settling.Wait() }()

	// Listening begins before looking, so that nothing happens unseen.
	events := d.listen()
	defer func() { events.close() }()
	report, err := d.sync(selection)
	if err != nil {
		return err
	}
	changed(report)

	for {
		review := time.After(reviewTime)
		if !events.ok() {
			review = time.After(retryTime)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-review:
		case <-events.wake:
			pause := settleTime
			if !events.ok() {
				pause = retryTime
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
		}
		if !events.ok() {
			events.close()
			events = d.listen()
		}
		now, err := d.sync(selection)
		if err != nil {
			d.log.Warn("following interfaces failed, will try again", "error", err)
			events.fail()
			continue
		}
		if !slices.Equal(now, report) {
			report = now
			changed(slices.Clone(report))
		}
	}
}

// keepSettled has the sets believed until ctx ends.
func (d *Datapath) keepSettled(ctx context.Context) {
	tick := time.NewTicker(endsTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.logError("look for what ends soon", "verdict tables", d.tables.settle())
		}
	}
}

// Attachments returns what became of the selected interfaces when Follow
// last looked.
func (d *Datapath) Attachments() []Attachment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.reported)
}

// sync makes the attachments be those the selection means now.
func (d *Datapath) sync(selection []string) ([]Attachment, error) {
	chosen, missing, err := choose(selection)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stood, d.checks.Standing = d.checks.Standing, ""

	var report []Attachment
	wanted := make(map[int]bool)
	replaced := true // every link has this program
	for _, l := range chosen {
		index := l.Attrs().Index
		wanted[index] = true
		now := d.look(l.Link)
		if l.note != "" {
			now.Reason += "; " + l.note
		}
		report = append(report, now)
		if a := d.attached[index]; a != nil && a.stale != nil {
			replaced = false
		}
	}
	for index := range d.attached {
		if !wanted[index] {
			d.logError("detach", fmt.Sprint("index ", index), d.detach(index))
		}
	}
	d.dropLeftovers(wanted)
	if replaced {
		d.logError("remove old maps", d.pins.dir, d.pins.removeOtherMaps(d.layout))
	}
	d.readBack()
	d.reported = append(report, missing...)
	return slices.Clone(d.reported), nil
}

// look sees to it that an interface carries the program, and returns how.
func (d *Datapath) look(l netlink.Link) Attachment {
	lost := d.dropLost(l)
	a := d.attached[l.Attrs().Index]
	if a == nil {
		now := d.attach(l)
		if lost != "" {
			d.differs(lost, now.Mode != ModeNone)
		}
		return now
	}
	if a.stale != nil {
		d.renew(a, l)
	}
	return d.describe(l)
}

// dropLeftovers detaches what an earlier run attached and nobody wants now.
func (d *Datapath) dropLeftovers(wanted map[int]bool) {
	hooks, err := d.pins.hooks()
	d.logError("look for leftovers", d.pins.dir, err)
	for _, h := range hooks {
		if !wanted[h.index] {
			d.logError("detach leftover", fmt.Sprint("index ", h.index), d.detachPinned(h))
		}
	}
}

func (d *Datapath) logError(what, where string, err error) {
	if err != nil {
		d.log.Warn(what+" failed", "where", where, "error", err)
	}
}

// events wakes Follow when links or routes change.
type events struct {
	wake   chan struct{} // buffered: one wake-up stands for all that came
	broken chan struct{} // closed or filled when a subscription ended
	done   chan struct{}
	failed bool
}

// listen subscribes to links and routes. A subscription that fails leaves
// events that are not ok.
func (d *Datapath) listen() *events {
	e := &events{
		wake:   make(chan struct{}, 1),
		broken: make(chan struct{}, 2),
		done:   make(chan struct{}),
	}
	report := func(err error) {
		select {
		case <-e.done: // closing the socket is no failure
		default:
			d.log.Warn("netlink subscription", "error", err)
		}
	}
	links := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribeWithOptions(links, e.done, netlink.LinkSubscribeOptions{ErrorCallback: report}); err != nil {
		report(err)
		e.failed = true
	} else {
		go forward(e, links)
	}
	routes := make(chan netlink.RouteUpdate)
	if err := netlink.RouteSubscribeWithOptions(routes, e.done, netlink.RouteSubscribeOptions{ErrorCallback: report}); err != nil {
		report(err)
		e.failed = true
	} else {
		go forward(e, routes)
	}
	return e
}

// forward reads one subscription to its end.
func forward[T any](e *events, updates <-chan T) {
	for range updates {
		e.poke()
	}
	e.broken <- struct{}{}
	e.poke()
}

func (e *events) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// ok reports whether both subscriptions stand and the last look succeeded.
func (e *events) ok() bool { return !e.failed && len(e.broken) == 0 }

// fail asks for a new subscription and another look soon.
func (e *events) fail() { e.failed = true }

func (e *events) close() { close(e.done) }
