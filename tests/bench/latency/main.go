// Command latency measures how long it takes from the write of a line that
// tells of an attack until the kernel refuses the attacker: for weir, and for
// the programs that do the same with nftables, on the same stage.
//
// The stage is a mail host in a network namespace, with a log and no mail
// servers. For each of many fresh sources it knocks at a port of the host all
// the time, writes one line about the source to the log, and sees from when on
// nothing comes back. The rule is the same for all: one line is enough.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"weir/tests/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

// options say what to measure.
type options struct {
	weir  string
	peers string
	count int
	noise int
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("latency", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`")
	flags.StringVar(&o.peers, "peers", "", "`folder` with the unpacked packages of the others (tests/setup.sh bench)")
	flags.IntVar(&o.count, "sources", 1000, "`how many` sources are refused, one after the other")
	flags.IntVar(&o.noise, "noise", 5000, "`lines` a second that others write to a busy log")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.count < 1 || o.noise < 0 {
		return errors.New("nothing to measure")
	}
	binary, err := filepath.Abs(o.weir)
	if err != nil {
		return err
	}
	o.weir = binary
	fmt.Printf("| from line to refusal | sources | median | p99 | max |\n| --- | --- | --- | --- | --- |\n")
	for _, c := range []contender{
		{name: "weir, quiet log", start: startWeir, count: o.count},
		{name: fmt.Sprintf("weir, %d other lines a second", o.noise), start: startWeir, count: o.count, noise: o.noise},
		{name: "sshguard 2.4.2, quiet log", start: startSSHGuard, count: min(o.count, 200)},
		{name: fmt.Sprintf("sshguard 2.4.2, %d other lines a second", o.noise), start: startSSHGuard, count: min(o.count, 200), noise: o.noise},
		{name: "fail2ban 1.0.2, quiet log", start: startFail2ban, count: min(o.count, 20)},
	} {
		times, err := measure(ctx, o, c)
		switch {
		case errors.Is(err, errMissing):
			fmt.Printf("| %s | %v | | | |\n", c.name, err)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", c.name, err)
		}
		slices.Sort(times)
		at := func(q float64) string { return shown(times[min(int(q*float64(len(times))), len(times)-1)]) }
		fmt.Printf("| %s | %d | %s | %s | %s |\n", c.name, len(times), at(0.5), at(0.99), at(1))
	}
	return nil
}

func shown(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// contender is a program that reads the log and has sources refused.
type contender struct {
	name  string
	start func(context.Context, options, *lab.Lab) error // returns when it reads
	count int
	noise int // lines a second
}

var errMissing = errors.New("not there")

// port is one that is protected and that nobody listens on.
const port = 587

// limit is how long a source may go unrefused.
const limit = 10 * time.Second

func measure(ctx context.Context, o options, c contender) (times []time.Duration, err error) {
	l, err := lab.New(ctx, lab.Options{Bare: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := c.start(ctx, o, l); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(l.MailLog(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	k, err := l.Knocker(port)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	ctx, cancel := context.WithCancel(ctx)
	var noise sync.WaitGroup
	noise.Go(func() { makeNoise(ctx, log, c.noise) })
	defer noise.Wait()
	defer cancel()
	// The sources are of the net that is set aside for benchmarks, RFC 2544.
	source := netip.MustParseAddr("198.18.0.1")
	for range c.count {
		// So that no two are at the same place of anything that comes at
		// regular times.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(rand.IntN(20_000)) * time.Microsecond):
		}
		line := fmt.Sprintf("%s mx postfix/smtpd[712]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n",
			time.Now().Format(time.Stamp), source)
		took, err := k.Refusal(ctx, source, limit, func() error {
			_, err := log.WriteString(line)
			return err
		})
		if err != nil {
			return nil, err
		}
		times = append(times, took)
		source = source.Next()
	}
	return times, nil
}

// makeNoise writes lines of good sessions, as a syslog daemon does, one a
// write, until ctx ends.
func makeNoise(ctx context.Context, log *os.File, perSecond int) {
	if perSecond == 0 {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	written := 0
	for begun := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(begun).Seconds() * float64(perSecond)); written < due; written++ {
			what := "connect from mail%d.example.net[203.0.113.%d]\n"
			if written%2 == 1 {
				what = "disconnect from mail%d.example.net[203.0.113.%d] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5\n"
			}
			n := written / 2 % 250
			fmt.Fprintf(log, "%s mx postfix/smtpd[%d]: "+what, time.Now().Format(time.Stamp), 1000+n, n, n+1)
		}
	}
}
