package enforce

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"weir/loader"
)

// A source that is newly dropped or tarpitted may have sessions open. Their packets no
// longer arrive, so each would hold a server process until its timeout.
// Looking at every socket of the host takes a while, hence it is done beside
// the core: prefixes wait in a bounded queue, and all that wait are looked
// for at once. While sources are newly dropped all the time, most of the time is
// left for other things.

const (
	restShare = 4 // times as long as it took to look for sessions, until the next look
	restMost  = 5 * time.Millisecond

	queueSlack = 4 // times as much room as was needed is what a queue keeps
)

// closeSessions queues those among entries of which nothing passes. Within a wider prefix,
// what is allowed or limited by an entry of its own is spared.
func (e *Enforcer) closeSessions(entries []loader.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := slices.Grow(e.waiting, len(entries))
	for i := range entries {
		p := entries[i].Prefix
		switch {
		case !entries[i].Action.Blocks():
		case isSource(p) || len(e.spared) == 0:
			waiting = append(waiting, p)
		default:
			var holes []netip.Prefix
			for spared := range e.spared {
				if p.Overlaps(spared) && spared.Bits() > p.Bits() {
					holes = append(holes, spared)
				}
			}
			waiting = append(waiting, without(p, holes)...)
		}
	}
	if len(waiting) > e.o.Queue {
		e.stats.Skipped += uint64(len(waiting) - e.o.Queue)
		waiting = waiting[:e.o.Queue]
	}
	if e.waiting = waiting; len(waiting) == 0 {
		return
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// isSource reports whether p is an IPv4 address or an IPv6 /64.
func isSource(p netip.Prefix) bool { return p.IsSingleIP() || p.Addr().Is6() && p.Bits() == 64 }

// Run closes sessions until ctx ends.
func (e *Enforcer) Run(ctx context.Context) {
	if e == nil {
		return
	}
	var spent []netip.Prefix // a queue that has been seen to, whose memory is used again
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		}
		e.mu.Lock()
		waiting, ports := e.waiting, e.ports
		e.waiting = spent[:0]
		e.mu.Unlock()
		begun := time.Now()
		n, err := e.o.Destroy(waiting, ports)
		e.closed(n, err)
		if spent = waiting; len(spent) < cap(spent)/queueSlack {
			spent = nil // after many have waited
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(restShare*time.Since(begun), restMost)):
		}
	}
}

func (e *Enforcer) closed(n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Closed += uint64(n)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != e.stats.Error && err != nil {
		e.o.Logger.Error("sessions of dropped sources could not be closed; they end by their own timeout", "error", err)
	}
	e.stats.Error = text
	if n > 0 {
		e.o.Logger.Info("closed the sessions of dropped sources", "sessions", n)
	}
}
