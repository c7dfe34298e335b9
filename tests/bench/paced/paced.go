// Package paced asks a server over many connections, at times that are laid
// down beforehand or as fast as it answers, and tells how long the answers
// took.
//
// At a rate a request's time counts from when it was due, not from when it was
// sent: one that waits because the connection's last has not been answered has
// waited. What asks is a single thread that waits with a clock of nanoseconds
// (Go's own timers wake up to a millisecond late), and it tells how late it was
// itself, so that its delays are not taken for the server's.
package paced

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Load is what is asked. All but Every must be set.
type Load struct {
	Dial        func() (net.Conn, error)
	Connections int
	Every       time.Duration // between two requests of all connections; 0: the next when the last was answered
	Lasts       time.Duration
	Request     func(b []byte, n int) []byte        // appends request n, from 0
	Answer      func(in []byte) (size int, e error) // looks at the answer that begins in; 0: there is more of it to come
}

// Figures are what came of it.
type Figures struct {
	Took  time.Duration   // all of it
	Times []time.Duration // of each answer, in order of size
	Late  []time.Duration // by which requests were sent that no earlier one kept waiting, in order of size
}

// At returns what a share of sorted times is not above.
func At(times []time.Duration, share float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(int(share*float64(len(times))), len(times)-1)]
}

// patience is how long an answer is waited for.
const patience = 10 * time.Second

// client is one connection.
type client struct {
	fd      int
	waiting []time.Time // when requests were due that cannot be sent yet
	due     time.Time   // of the one that was sent; zero: none is under way
	in      []byte
}

// run is a load under way.
type run struct {
	Load
	poll    int
	clients []client
	planned int // requests whose time has come
	sent    int
	open    int // of those, that are not answered
	out     []byte
	f       Figures
}

// Run asks until the time is up and all is answered.
func (l Load) Run(ctx context.Context) (f Figures, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil { // nanoseconds, instead of 50,000
		return f, fmt.Errorf("set timer slack: %w", err)
	}
	r := run{Load: l, clients: make([]client, l.Connections)}
	if r.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return f, fmt.Errorf("epoll: %w", err)
	}
	defer unix.Close(r.poll)
	for i := range r.clients {
		if r.clients[i].fd, err = r.connect(i); err != nil {
			return f, err
		}
		defer unix.Close(r.clients[i].fd)
		time.Sleep(time.Millisecond) // some listen for five at a time
	}
	begun := time.Now()
	if err := r.ask(ctx, begun); err != nil {
		return f, err
	}
	r.f.Took = time.Since(begun)
	slices.Sort(r.f.Times)
	slices.Sort(r.f.Late)
	return r.f, nil
}

// connect opens connection i and returns its descriptor, which Go's poller
// knows nothing of.
func (r *run) connect(i int) (fd int, err error) {
	conn, err := r.Dial()
	if err != nil {
		return -1, err
	}
	defer conn.Close() // the duplicate stays
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T has no descriptor", conn)
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	if err := raw.Control(func(of uintptr) { fd, failed = unix.Dup(int(of)) }); err != nil || failed != nil {
		return -1, errors.Join(err, failed)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if err := unix.EpollCtl(r.poll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fd, fmt.Errorf("epoll: %w", err)
	}
	return fd, nil
}

// ask asks from a time on.
func (r *run) ask(ctx context.Context, begun time.Time) error {
	end := begun.Add(r.Lasts)
	if r.Every == 0 {
		for i := range r.clients {
			if err := r.send(&r.clients[i], time.Now()); err != nil {
				return err
			}
		}
	}
	heard := begun
	var events [64]unix.EpollEvent
	for {
		now := time.Now()
		next := end // when the next is due
		if r.Every > 0 {
			var err error
			if next, err = r.sendDue(begun, now, end); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.open == 0 && !now.Before(end):
			return nil
		case now.Sub(heard) > patience && r.open > 0:
			return fmt.Errorf("%d requests are not answered after %s", r.open, patience)
		case !next.After(now):
			next = now.Add(patience / 10)
		}
		n, err := r.wait(events[:], next.Sub(now))
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if err := r.hear(&r.clients[e.Fd], end); err != nil {
				return err
			}
			heard = now
		}
	}
}

// wait waits for answers until a time has passed.
func (r *run) wait(events []unix.EpollEvent, most time.Duration) (n int, err error) {
	if n, err = unix.EpollWait(r.poll, events, 0); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
		return n, err
	}
	timeout := unix.NsecToTimespec(int64(most))
	if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(r.poll), Events: unix.POLLIN}}, &timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("poll: %w", err)
	}
	if n, err = unix.EpollWait(r.poll, events, 0); errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// sendDue sends what is due, and returns when the next is.
func (r *run) sendDue(begun, now, end time.Time) (next time.Time, err error) {
	for {
		due := begun.Add(time.Duration(r.planned) * r.Every)
		if !due.Before(end) {
			return end, nil
		}
		if due.After(now) {
			return due, nil
		}
		c := &r.clients[r.planned%len(r.clients)]
		r.planned++
		if !c.due.IsZero() {
			c.waiting = append(c.waiting, due)
			continue
		}
		r.f.Late = append(r.f.Late, now.Sub(due))
		if err := r.send(c, due); err != nil {
			return due, err
		}
		now = time.Now()
	}
}

// send sends the next request on a connection.
func (r *run) send(c *client, due time.Time) error {
	r.out = r.Request(r.out[:0], r.sent)
	r.sent++
	r.open++
	c.due = due
	for rest := r.out; len(rest) > 0; {
		n, err := unix.Write(c.fd, rest)
		if err != nil && !errors.Is(err, unix.EINTR) { // a full buffer as well: nobody reads what is a few hundred bytes
			return fmt.Errorf("send a request: %w", err)
		}
		rest = rest[max(n, 0):]
	}
	return nil
}

// hear reads from a connection, and sends what has been waiting for that.
func (r *run) hear(c *client, end time.Time) error {
	var buffer [4096]byte
	n, err := unix.Read(c.fd, buffer[:])
	switch {
	case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return errors.New("read an answer: the server has closed the connection")
	case c.due.IsZero():
		return fmt.Errorf("an answer to nothing: %q", buffer[:n])
	}
	c.in = append(c.in, buffer[:n]...)
	size, err := r.Answer(c.in)
	if err != nil || size == 0 {
		return err
	}
	if size != len(c.in) {
		return fmt.Errorf("more than an answer: %q", c.in)
	}
	now := time.Now()
	r.f.Times = append(r.f.Times, now.Sub(c.due))
	c.in, c.due = c.in[:0], time.Time{}
	r.open--
	switch {
	case len(c.waiting) > 0:
		due := c.waiting[0]
		c.waiting = c.waiting[1:]
		return r.send(c, due)
	case r.Every == 0 && now.Before(end):
		return r.send(c, now)
	}
	return nil
}
