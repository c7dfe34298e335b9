package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"weir/tests/lab"
)

var goodAddresses = [...]netip.Addr{
	netip.MustParseAddr("203.0.113.10"),
	netip.MustParseAddr("2001:db8:900d::10"),
}

// good is the good user at two places, and what they read by IMAP.
type good struct {
	lab     *lab.Lab
	mailers []*lab.Mailer
	cancel  context.CancelFunc
	ended   chan struct{}

	mu    sync.Mutex
	reads int
	seen  int // messages at the last reading
	errs  []error
}

func startGoodUser(ctx context.Context, l *lab.Lab) *good {
	ctx, cancel := context.WithCancel(ctx)
	g := &good{lab: l, cancel: cancel, ended: make(chan struct{})}
	for _, from := range goodAddresses {
		g.mailers = append(g.mailers, l.Mailer(ctx, from, goodUser, 250*time.Millisecond))
	}
	go g.read(ctx)
	return g
}

// read looks into the mailbox once a second.
func (g *good) read(ctx context.Context) {
	defer close(g.ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.readOnce(goodAddresses[g.reads%2])
		}
	}
}

// readOnce does not stop half way when the demo is interrupted: it is bounded
// by itself.
func (g *good) readOnce(from netip.Addr) {
	subjects, err := g.lab.Subjects(context.Background(), from, goodUser)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reads++
	if err != nil {
		g.errs = append(g.errs, fmt.Errorf("read by IMAP from %s: %w", from, err))
		return
	}
	g.seen = len(subjects)
}

func (g *good) stop() {
	g.cancel()
	for _, m := range g.mailers {
		m.Stop()
	}
	<-g.ended
}

func (g *good) sent() (n int) {
	for _, m := range g.mailers {
		n += m.Sent()
	}
	return n
}

func (g *good) delivered() int { return g.lab.Delivered(goodUser) }

func (g *good) slowest() (d time.Duration) {
	for _, m := range g.mailers {
		d = max(d, m.Slowest())
	}
	return d
}

func (g *good) errors() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := append([]error(nil), g.errs...)
	for _, m := range g.mailers {
		errs = append(errs, m.Errors()...)
	}
	return errs
}

func (g *good) line() string {
	g.mu.Lock()
	seen := g.seen
	g.mu.Unlock()
	return fmt.Sprintf("%-7s  %d sent, %d delivered, %d errors, %d read by IMAP", goodUser, g.sent(), g.delivered(), len(g.errors()), seen)
}
