package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/tests/bench/live"
)

// Of the sources of a load, the last few misbehave.
const (
	loadUsers   = 200_000 // of the first sources, each is one user's
	loadBots    = 20_000  // guess passwords
	loadHarvest = 20_000  // try recipients
)

// loadWriter writes lines to a log as a syslog daemon does, so many a second,
// each of which tells of one event.
type loadWriter struct {
	path    string
	sources int
	rate    atomic.Int64 // lines a second
	written atomic.Uint64
	read    atomic.Uint64 // lines that need not be kept any longer
	late    atomic.Int64  // nanoseconds: the longest time that lines were written too late by

	f      *os.File
	size   int64
	turned []uint64 // the lines up to the end of each log that was turned over, the newest first
	random *rand.Rand
	b      []byte
}

// loadTurn is how large the log gets before it is turned over, of which one at
// least stays.
const loadTurn = 512 << 20

// run writes until ctx ends.
func (w *loadWriter) run(ctx context.Context) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if err := w.open(); err != nil {
		return err
	}
	defer func() { _ = w.f.Close() }()
	w.random = rand.New(rand.NewPCG(1, 2))
	for due := time.Now(); ctx.Err() == nil; due = due.Add(time.Millisecond) {
		if wait := time.Until(due); wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&ts, nil)
		} else if -wait > time.Duration(w.late.Load()) {
			w.late.Store(int64(-wait))
		}
		rate := w.rate.Load()
		n := int(rate*(due.UnixMilli()+1)/1000 - rate*due.UnixMilli()/1000)
		w.b = w.b[:0]
		for head := time.Now().AppendFormat(nil, time.RFC3339Nano+" mx "); n > 0; n-- {
			w.b = w.line(append(w.b, head...))
			w.written.Add(1)
		}
		k, err := w.f.Write(w.b)
		if err != nil {
			return err
		}
		if w.size += int64(k); w.size > loadTurn {
			if err := w.turnOver(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *loadWriter) open() (err error) {
	w.f, err = os.OpenFile(w.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	w.size = 0
	return err
}

// turnOver is what logrotate(8) does without copytruncate, but that it keeps as
// many logs as there are lines to be read in.
func (w *loadWriter) turnOver() error {
	old := func(n int) string { return w.path + "." + strconv.Itoa(n) }
	for n := len(w.turned); n > 0; n-- {
		if err := os.Rename(old(n), old(n+1)); err != nil {
			return err
		}
	}
	if err := os.Rename(w.path, old(1)); err != nil {
		return err
	}
	if err := errors.Join(w.f.Close(), w.open()); err != nil {
		return err
	}
	w.turned = slices.Insert(w.turned, 0, w.written.Load())
	for n := len(w.turned); n > 1 && w.turned[n-1] <= w.read.Load(); n-- {
		gone := filepath.Join(filepath.Dir(w.path), "gone-"+strconv.FormatUint(w.turned[n-1], 10))
		if err := os.Rename(old(n), gone); err != nil {
			return err
		}
		w.turned = w.turned[:n-1]
		go func() { _ = os.Remove(gone) }() // it takes long; what stays goes with the lab
	}
	return nil
}

// line appends the rest of a line. Of a hundred, 70 tell of connections of any
// source, 20 of logins of users, 8 of recipients that do not exist, and 2 of
// passwords that are wrong.
func (w *loadWriter) line(b []byte) []byte {
	source := func(b []byte, i int) []byte { return live.Source4(uint32(i)).AppendTo(b) }
	user := func(b []byte, i int) []byte { return strconv.AppendInt(append(b, "user"...), int64(i), 10) }
	switch n := w.random.IntN(100); {
	case n < 70:
		b = append(b, "postfix/smtpd[712]: connect from unknown["...)
		b = append(source(b, w.random.IntN(w.sources)), ']')
	case n < 90:
		i := w.random.IntN(min(loadUsers, w.sources))
		b = append(b, "dovecot: imap-login: Login: user=<"...)
		b = append(user(b, i), ">, method=PLAIN, rip="...)
		b = append(source(b, i), ", lip=192.0.2.25, mpid=4711, TLS, session=<"...)
		b = append(strconv.AppendUint(b, w.random.Uint64(), 36), '>')
	case n < 98:
		b = append(b, "postfix/smtpd[713]: NOQUEUE: reject: RCPT from unknown["...)
		b = append(source(b, w.sources-1-w.random.IntN(min(loadHarvest, w.sources))), "]: 550 5.1.1 <"...)
		b = append(user(b, w.random.IntN(1<<30)), "@example.com>: Recipient address rejected: User unknown in local recipient table; from=<a@example.net> to=<x@example.com> proto=ESMTP helo=<x>"...)
	default:
		b = append(b, "postfix/submission/smtpd[714]: warning: unknown["...)
		b = append(source(b, w.sources-1-loadHarvest-w.random.IntN(min(loadBots, w.sources-loadHarvest))), "]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username="...)
		b = user(b, w.random.IntN(loadUsers))
	}
	return append(b, '\n')
}

// probeLines are what a source writes that guesses, quickly enough to be
// flagged by any of the default rules.
func probeLines(source string) string {
	var b []byte
	head := time.Now().Format(time.RFC3339Nano)
	for i := range 30 {
		b = fmt.Appendf(b, "%s mx postfix/submission/smtpd[715]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=probe%d\n", head, source, i)
	}
	return string(b)
}
