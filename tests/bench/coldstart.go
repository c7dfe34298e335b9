package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/policy"
	"weir/tests/bench/live"
	"weir/tests/document"
	"weir/tests/lab"
	"weir/userspace/store"
)

// The marks between which docs/benchmarks.md has the table.
const (
	startBegin = "<!-- bench-start writes what follows -->\n"
	startEnd   = "<!-- bench-start wrote what stands above -->\n"
)

// startOptions say what a starting agent finds.
type startOptions struct {
	weir      string
	decisions int
	runs      int
	update    string
}

// runStart measures how long the agent takes from its start until all that its
// store holds is in force: with empty tables in the kernel (the host has just
// started), and with those that an earlier run has left.
func runStart(ctx context.Context, args []string) (err error) {
	var o startOptions
	flags := flag.NewFlagSet("bench start", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`, or several, separated by commas, to compare them: they start in turn")
	flags.IntVar(&o.decisions, "decisions", 1_000_000, "how many `decisions` the store holds")
	flags.IntVar(&o.runs, "runs", 5, "how `often` the agent starts")
	flags.StringVar(&o.update, "update", "", "write the table to `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.decisions < 1 || o.runs < 1 {
		return errors.New("nothing to measure")
	}
	text, err := benchStart(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(text)
	if o.update != "" {
		return document.Replace(o.update, startBegin, startEnd, text)
	}
	return nil
}

func benchStart(ctx context.Context, o startOptions) (_ string, err error) {
	l, err := lab.New(ctx, lab.Options{Bare: true})
	if err != nil {
		return "", fmt.Errorf("make a mail host (as root?): %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var agents []*lab.Weir
	for binary := range strings.SplitSeq(o.weir, ",") {
		w, err := l.Weir(binary, "enforce", fmt.Sprintf("[limits]\nentries = %d", max(o.decisions, 1<<10)))
		if err != nil {
			return "", err
		}
		agents = append(agents, w)
	}
	say("storing %d decisions", o.decisions)
	if err := storeDecisions(l.Path("state"), o.decisions); err != nil {
		return "", err
	}
	var cold, warm = make([][]started, len(agents)), make([][]started, len(agents))
	for i := range o.runs {
		for k, w := range agents {
			for _, starts := range []*[]started{&cold[k], &warm[k]} {
				say("start %d", i+1)
				one, err := start(ctx, l, w, o.decisions)
				if err != nil {
					return "", err
				}
				*starts = append(*starts, one)
			}
			if err := os.RemoveAll(l.Path("bpf", "weir")); err != nil { // links and maps end with their pins
				return "", err
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| the agent starts, with %s decisions in its store | median | max | of processors | first touches of a page |\n| --- | --- | --- | --- | --- |\n", thousands(int64(o.decisions)))
	for k, w := range agents {
		which := ""
		if len(agents) > 1 {
			which = w.Binary + ", "
		}
		writeStarts(&text, which+"into empty tables", cold[k])
		writeStarts(&text, which+"over the tables of an earlier run", warm[k])
	}
	return text.String(), nil
}

// writeStarts writes a row of the table.
func writeStarts(text *strings.Builder, what string, starts []started) {
	middle := len(starts) / 2
	slices.SortFunc(starts, func(a, b started) int { return cmp.Compare(a.Busy, b.Busy) })
	busy := starts[middle].Busy
	slices.SortFunc(starts, func(a, b started) int { return cmp.Compare(a.Faults, b.Faults) })
	faults := starts[middle].Faults
	slices.SortFunc(starts, func(a, b started) int { return cmp.Compare(a.took, b.took) })
	fmt.Fprintf(text, "| %s | %.2f s | %.2f s | %.2f s | %s |\n", what, starts[middle].took.Seconds(), starts[len(starts)-1].took.Seconds(), busy.Seconds(), thousands(faults))
}

// started is what a start took.
type started struct {
	took time.Duration
	lab.Usage
}

// start runs the agent until it says that it is ready (sd_notify(3)), and
// returns what that took.
func start(ctx context.Context, l *lab.Lab, w *lab.Weir, want int) (s started, err error) {
	path := l.Path("notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, conn.Close(), os.Remove(path)) }()
	began := time.Now()
	if err := w.Launch("NOTIFY_SOCKET=" + path); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	if err := conn.SetReadDeadline(began.Add(lab.Patience)); err != nil {
		return s, err
	}
	message := make([]byte, 1<<12)
	for {
		n, err := conn.Read(message)
		if err != nil {
			return s, fmt.Errorf("wait for weir: %w\n%s", err, l.Output("weir"))
		}
		if strings.Contains(string(message[:n]), "READY=1") {
			break
		}
	}
	s.took = time.Since(began)
	if s.Usage, err = lab.UsageOf(w.PID()); err != nil {
		return s, err
	}
	status, err := w.Status(ctx)
	if err == nil && status.Table.Used < want {
		err = fmt.Errorf("%d of %d decisions are in the kernel", status.Table.Used, want)
	}
	return s, err
}

// storeDecisions writes a store as an agent leaves it that has flagged so many
// sources, most of them IPv4.
func storeDecisions(dir string, n int) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s, err := store.Open(filepath.Join(dir, "weir.db"), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	const chunk = 1 << 17
	now := time.Now()
	var batch store.Batch
	for i := range n {
		source, bits := live.Source4(uint32(i)), 32
		if i%4 == 3 {
			source, bits = live.Source6(uint32(i)), 64
		}
		batch.Put = append(batch.Put, policy.Decision{
			Target: policy.Target{Prefix: netip.PrefixFrom(source, bits)}, Action: policy.Drop, Since: now, Until: now.Add(24*time.Hour + time.Duration(i)*time.Millisecond),
			Rule: "brute-force", Reason: "5 failed logins within 10m", Offence: 1,
			Evidence: policy.Evidence{Count: 5, FirstLine: uint64(i), LastLine: uint64(i) + 4, Sample: []policy.Observation{
				{Time: now, Kind: policy.AuthFailure, Source: source, User: fmt.Sprintf("user%d", i%1000), Service: "submission", Server: "postfix", Line: uint64(i)},
				{Time: now, Kind: policy.AuthFailure, Source: source, User: fmt.Sprintf("user%d", i%1000), Service: "submission", Server: "postfix", Line: uint64(i) + 4},
			}},
		})
		if len(batch.Put) == chunk || i == n-1 {
			if err := s.Commit(batch); err != nil {
				return err
			}
			batch.Put = batch.Put[:0]
		}
	}
	return nil
}
