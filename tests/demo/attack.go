package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/tests/lab"
)

// figures is what the attackers of one act met. Everything is seen from
// their side, except where the name says else.
type figures struct {
	answered  atomic.Int64 // attempts that the server answered
	succeeded atomic.Int64 // attempts that had what they wanted
	closed    atomic.Int64 // sessions that ended in the middle
	silent    atomic.Int64 // connections that nobody answered
	odd       atomic.Int64 // anything else

	mu       sync.Mutex
	first    time.Time       // when the first attempt was answered
	reaction []time.Duration // from the guess after the last answer to the session's end
	firstEnd time.Time       // when the first session was ended
}

// answer notes an attempt that the server answered.
func (f *figures) answer() {
	f.answered.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first.IsZero() {
		f.first = time.Now()
	}
}

// end notes how an attempt failed. last is when the session had its last
// answer; zero if it is not known to have been the one that mattered.
func (f *figures) end(err error, last time.Time) {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		f.silent.Add(1)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.closed.Add(1)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.firstEnd.IsZero() {
			f.firstEnd = time.Now()
		}
		if !last.IsZero() {
			f.reaction = append(f.reaction, time.Since(last))
		}
	default:
		f.odd.Add(1)
	}
}

// reactions returns the median and the longest time from the guess that was
// never answered, sent right after the last answer, to the session's end.
func (f *figures) reactions() (median, longest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.reaction) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(f.reaction))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

// firstDrop is the time from the first answered attempt of all to the first
// session that was ended.
func (f *figures) firstDrop() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.firstEnd.Sub(f.first), 0) // a net may go before its guessers
}

// guesser returns the address of attacker i: every fifth uses IPv6, each
// from a /64 of its own.
func guesser(i int) netip.Addr {
	if i%5 == 4 {
		b := netip.MustParseAddr("2001:db8:bad1::1").As16()
		binary.BigEndian.PutUint16(b[6:], uint16(i))
		return netip.AddrFrom16(b)
	}
	b := lab.NetA.Addr().As4()
	b[3] = byte(i + 1)
	return netip.AddrFrom4(b)
}

// thief returns address i of those who use the stolen password.
func thief(i int) netip.Addr {
	b := lab.NetB.Addr().As4()
	b[3] = byte(100 + i)
	return netip.AddrFrom4(b)
}

// swarm runs act for every one of n attackers, who begin one after another
// over spread. It returns when all have ended.
func swarm(ctx context.Context, n int, spread time.Duration, act func(ctx context.Context, i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(spread * time.Duration(i) / time.Duration(n)):
				act(ctx, i)
			}
		})
	}
	all.Wait()
}

// insistence bounds how long an attacker tries, on a host so busy that its
// attempts go unanswered for other reasons than weir.
const insistence = 90 * time.Second

// insist is how every attacker goes about it: it attempts until weir has
// flagged its source, and then knocks at the door.
func insist(ctx context.Context, l *lab.Lab, f *figures, from netip.Addr, flagged func(netip.Addr) bool, attempt func(ctx context.Context)) {
	// No deadline, which each single connection would wait for.
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(insistence, cancel).Stop()
	for {
		if !flagged(from) { // with its net, it may be before it begins
			attempt(trying)
		}
		select {
		case <-trying.Done():
			return
		case <-time.After(500 * time.Millisecond): // weir's list is read now and then
		}
		if flagged(from) {
			knock(ctx, l, f, from)
			return
		}
	}
}

// guess is one session of a guesser: it tries one user after another, as
// botnets do, until the session dies.
func guess(ctx context.Context, l *lab.Lab, f *figures, i int) {
	users := []string{"admin", "info", goodUser, "office", "sales", "test", "scanner", "backup"}
	attempt, closeSession, err := openGuesser(ctx, l, i)
	if err != nil {
		f.end(err, time.Time{})
		return
	}
	defer closeSession()
	var last time.Time
	for n := range 4 * len(users) {
		err := attempt(users[(i+n)%len(users)], fmt.Sprintf("Passw0rd%d", n))
		if err != nil && !errors.Is(err, lab.ErrRefused) {
			f.end(err, last)
			return
		}
		f.answer()
		if err == nil {
			f.succeeded.Add(1)
		}
		last = time.Now()
		if ctx.Err() != nil {
			return
		}
	}
}

// knock connects three times and gives each a second.
func knock(ctx context.Context, l *lab.Lab, f *figures, from netip.Addr) {
	for range 3 {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		conn, err := l.Dial(ctx, from, 587)
		cancel()
		if err != nil {
			f.end(err, time.Time{})
			continue
		}
		conn.Close()
		f.odd.Add(1)
	}
}

// openGuesser opens a session over one of three protocols.
func openGuesser(ctx context.Context, l *lab.Lab, i int) (attempt func(user, password string) error, end func() error, err error) {
	if i%3 == 2 {
		session, err := l.OpenIMAP(ctx, guesser(i))
		if err != nil {
			return nil, nil, err
		}
		return session.Login, session.Close, nil
	}
	session, err := l.Submission(ctx, guesser(i), []uint16{465, 587}[i%3])
	if err != nil {
		return nil, nil, err
	}
	return session.Auth, session.Close, nil
}

// spam is one session of the thief's: it logs in with the right password and
// sends until the session dies.
func spam(ctx context.Context, l *lab.Lab, f *figures, i int) {
	session, err := l.Submission(ctx, thief(i), 587)
	if err != nil {
		f.end(err, time.Time{})
		return
	}
	defer session.Close()
	err = session.Auth(stolenUser, lab.Password)
	for n := 0; err == nil && n < 40 && ctx.Err() == nil; n++ {
		to := []string{fmt.Sprintf("victim%d-%d@%s", i, n, lab.Elsewhere), fmt.Sprintf("other%d-%d@%s", i, n, lab.Elsewhere)}
		if err = session.Send(stolenUser+"@"+lab.Domain, to, "You have won", "Click here."); err == nil {
			f.answer()
			f.succeeded.Add(1)
			time.Sleep(300 * time.Millisecond) // a thief's pace
		}
	}
	if err != nil {
		f.end(err, time.Time{})
	}
}
