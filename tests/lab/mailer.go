package lab

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Mailer is the good user: it logs in and sends one message to itself after
// another, each in a session of its own, and wants every one delivered.
type Mailer struct {
	lab     *Lab
	user    string
	sent    atomic.Int64
	slowest atomic.Int64 // nanoseconds of the longest submission

	cancel context.CancelFunc
	ended  chan struct{}
	mu     sync.Mutex
	errs   []error
}

// Mailer starts sending as user from an address, and pauses between two
// messages.
func (l *Lab) Mailer(ctx context.Context, from netip.Addr, user string, pause time.Duration) *Mailer {
	ctx, cancel := context.WithCancel(ctx)
	m := &Mailer{lab: l, user: user, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := 1; ctx.Err() == nil; n++ {
			m.send(from, n)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return m
}

// send submits message n. It does not stop half way when the mailer does: a
// message is either sent or not begun.
func (m *Mailer) send(from netip.Addr, n int) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	begun := time.Now()
	address := m.user + "@" + Domain
	if err := m.lab.Submit(ctx, from, m.user, address, []string{address}, fmt.Sprintf("message %d", n)); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.errs = append(m.errs, fmt.Errorf("message %d from %s: %w", n, from, err))
		return
	}
	m.slowest.Store(max(m.slowest.Load(), int64(time.Since(begun))))
	m.sent.Add(1)
}

// Sent counts the messages that Postfix took.
func (m *Mailer) Sent() int { return int(m.sent.Load()) }

// Delivered counts the messages in the mailbox.
func (m *Mailer) Delivered() int { return m.lab.Delivered(m.user) }

// Slowest is the time that the slowest submission took, from connecting.
func (m *Mailer) Slowest() time.Duration { return time.Duration(m.slowest.Load()) }

// Errors returns what went wrong so far; the good user wants none.
func (m *Mailer) Errors() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]error(nil), m.errs...)
}

// Stop ends the mailer after the message it is at.
func (m *Mailer) Stop() {
	m.cancel()
	<-m.ended
}
