package agent

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/userspace/intake"
)

const (
	loadRate = 138_000 // lines a second that BenchmarkLoad's host writes
	loadFill = 12      // seconds until its tables are full enough
)

// loadLine is one of a large site's: connections of a million sources, logins,
// and some who try recipients and passwords.
func loadLine(b []byte, rng *rand.Rand, at time.Time, n int) []byte {
	source := func(i int) string {
		return netip.AddrFrom4([4]byte{byte(1 + i>>16%200), byte(i >> 8), byte(i), byte(i*7 + 1)}).String()
	}
	b = append(at.AppendFormat(b, time.RFC3339Nano), " mx "...)
	switch pick := rng.IntN(100); {
	case pick < 70:
		return fmt.Appendf(b, "postfix/smtpd[712]: connect from unknown[%s]", source(rng.IntN(1_000_000)))
	case pick < 90:
		i := rng.IntN(200_000)
		return fmt.Appendf(b, "dovecot: imap-login: Login: user=<user%d>, method=PLAIN, rip=%s, lip=192.0.2.25, mpid=4711, TLS, session=<%s>", i, source(i), strconv.FormatUint(rng.Uint64(), 36))
	case pick < 98:
		return fmt.Appendf(b, "postfix/smtpd[713]: NOQUEUE: reject: RCPT from unknown[%s]: 550 5.1.1 <user%d@example.com>: Recipient address rejected: User unknown in local recipient table; from=<a@example.net> to=<x@example.com> proto=ESMTP helo=<x>", source(980_000+rng.IntN(20_000)), n)
	default:
		return fmt.Appendf(b, "postfix/submission/smtpd[714]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=user%d", source(960_000+rng.IntN(20_000)), rng.IntN(200_000))
	}
}

// threadTime is what this thread has used of a processor.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// BenchmarkLoad has the core of an agent take lines of a large site, a
// millisecond's at once, and take checkpoints meanwhile. Beside the processor
// time of an event it tells for how much of it nothing else was done at most:
// while the tables fill, afterwards, and in a slice of a checkpoint. One
// operation is a second of the site.
func BenchmarkLoad(b *testing.B) {
	for _, together := range []int{1, loadRate / 1000, 2150} {
		b.Run(strconv.Itoa(together), func(b *testing.B) { benchmarkLoad(b, together) })
	}
}

func benchmarkLoad(b *testing.B, together int) {
	dir, err := os.MkdirTemp("", "weir") // short, for the socket's path
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := dir + "/weir.toml"
	text := fmt.Sprintf("mode = \"observe\"\nstate_dir = %q\ncontrol_socket = %q\n", dir+"/state", dir+"/s")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	now := logEnd
	o := DefaultOptions()
	o.ConfigPath, o.Logger, o.Now = path, slog.New(slog.DiscardHandler), func() time.Time { return now }
	a, err := start(o)
	if err != nil {
		b.Fatal(err)
	}
	c := a.core
	rng := rand.New(rand.NewPCG(1, 2))
	var arena []byte
	records := make([]intake.Record, 0, loadRate)
	var number uint64
	var most, slice, sum time.Duration
	second := func() {
		arena, records = arena[:0], records[:0]
		for i := range loadRate {
			number++
			from := len(arena)
			arena = loadLine(arena, rng, now.Add(time.Duration(i)*time.Second/loadRate), i)
			records = append(records, intake.Record{Line: arena[from:], Number: number})
		}
		now = now.Add(time.Second)
		for from := 0; from < len(records); from += together {
			begun := threadTime()
			c.consume("load", records[from:min(from+together, len(records))], intake.Position{Offset: 1})
			used := threadTime() - begun
			sum += used
			most = max(most, used)
			if c.saving != nil {
				begun = threadTime()
				c.slice(1)
				slice = max(slice, threadTime()-begun)
			}
		}
	}
	err = c.do(b.Context(), func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for range loadFill {
			second()
		}
		filling := most
		c.checkpoint()
		slice = 0
		for c.saving != nil {
			second()
		}
		took := c.pause / checkpointShare
		most, sum = 0, 0
		n := 0
		for b.Loop() {
			second()
			n++
		}
		b.ReportMetric(filling.Seconds()*1000, "ms-filling")
		b.ReportMetric(slice.Seconds()*1000, "ms-slice")
		b.ReportMetric(took.Seconds(), "s-checkpoint")
		b.ReportMetric(most.Seconds()*1000, "ms-most")
		b.ReportMetric(float64(n)*loadRate/sum.Seconds(), "events/cpu-s")
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.stop(); err != nil {
		b.Fatal(err)
	}
}
