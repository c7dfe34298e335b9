package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/tests/document"
)

// policyOptions say what of the policy servers is measured.
type policyOptions struct {
	weir        string
	peers       string // folder with the unpacked packages of the others
	runs        int
	duration    time.Duration
	connections int
	rate        int // requests a second at which latency is measured
	realtime    bool
	update      string
}

// runPolicy measures policy servers, one after the other on one core, while
// another core asks.
func runPolicy(ctx context.Context, args []string) error {
	var o policyOptions
	flags := flag.NewFlagSet("bench policy", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`")
	flags.StringVar(&o.peers, "peers", "", "`folder` with the unpacked packages of the others (tests/setup.sh bench policy)")
	flags.IntVar(&o.runs, "runs", 3, "how `often` each server runs")
	flags.DurationVar(&o.duration, "for", 4*time.Second, "how `long`")
	flags.IntVar(&o.connections, "connections", 50, "`how many` smtpd processes ask")
	flags.IntVar(&o.rate, "rate", 50_000, "requests a `second` at which latency is measured")
	flags.BoolVar(&o.realtime, "realtime", false, "servers and load come before all other programs (chrt, as root)")
	flags.StringVar(&o.update, "update", "", "write the table to `file` as well")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.runs < 1 || o.connections < 1 || o.duration <= 0 {
		return errors.New("nothing to measure")
	}
	folder, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil { // postfwd runs under a user of its own
		return err
	}
	load := loadAverage()
	servers := newPolicyServers(folder, o)
	for i := range o.runs { // in turn, so that a slow minute hits all
		for _, s := range servers {
			if s.missing != "" {
				continue
			}
			say("run %d: %s", i+1, s.name)
			if err := s.run(ctx, o); err != nil {
				if s.name == "weir" || ctx.Err() != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				s.missing = err.Error()
			}
		}
	}
	text := policyTable(servers, o, load)
	fmt.Print(text)
	if o.update != "" {
		return document.Replace(o.update, policyBegin, policyEnd, text)
	}
	return nil
}

const (
	policyBegin = "<!-- bench-policy writes what follows -->\n"
	policyEnd   = "<!-- bench-policy wrote what stands above -->\n"
)

// run measures one run.
func (s *policyServer) run(ctx context.Context, o policyOptions) error {
	session, err := s.start(ctx, o)
	if err != nil {
		return err
	}
	defer stop(session)
	before, _ := sessionUse(session)
	var r policyRun
	if r.policyFigures, err = s.load(ctx, o, 0); err != nil {
		return err
	}
	after, memory := sessionUse(session)
	r.cpu, r.memory = after-before, memory
	if s.rated > 0 {
		if r.rated, err = s.load(ctx, o, s.rated); err != nil {
			return err
		}
	}
	s.runs = append(s.runs, r)
	return nil
}

// load asks from a process on the first core.
func (s *policyServer) load(ctx context.Context, o policyOptions, rate int) (f policyFigures, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	args := []string{"taskset", "-c", "0", self, "policyload", "-address", s.address, "-state", s.state, "-connections", strconv.Itoa(o.connections),
		"-for", o.duration.String(), "-rate", strconv.Itoa(rate)}
	if o.realtime {
		args = append([]string{"chrt", "-f", "10"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("%w: %s", err, tail(errs.String()))
	}
	if err := json.Unmarshal(out, &f); err != nil {
		return f, err
	}
	if f.Refused > 0 {
		return f, fmt.Errorf("%d of %d requests were refused", f.Refused, f.Answered)
	}
	return f, nil
}

// middle returns the median of a figure.
func (s *policyServer) middle(of func(*policyRun) float64) float64 {
	var list []float64
	for i := range s.runs {
		list = append(list, of(&s.runs[i]))
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func policyTable(servers []*policyServer, o policyOptions, load string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d cores (%s), %s, %s. %d connections, 20,000 users; the server on one core, what asks on another. Medians of %d runs of %s; load average %s before them.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuName(), kernel(), runtime.Version(), o.connections, o.runs, o.duration, load)
	if o.realtime {
		b.WriteString("Servers and load had their cores to themselves (`-realtime`).\n\n")
	}
	b.WriteString("| | requests/s | of weir's | requests a CPU second | median | p99 | memory MB |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	perSecond := func(r *policyRun) float64 { return float64(r.Answered) / r.Took.Seconds() }
	var weir float64
	for _, s := range servers {
		if s.name == "weir" && len(s.runs) > 0 {
			weir = s.middle(perSecond)
		}
	}
	ms := func(d float64) string { return fmt.Sprintf("%.2f ms", d/float64(time.Millisecond)) }
	for _, s := range servers {
		name := s.name
		if s.version != "" {
			name += " (" + s.version + ")"
		}
		if s.missing != "" {
			fmt.Fprintf(&b, "| %s | **NOT MEASURED: %s** | | | | | |\n", name, s.missing)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %.3g | %s | %s | %s | %.0f |\n", name, thousands(int64(s.middle(perSecond))), s.middle(perSecond)/weir,
			thousands(int64(s.middle(func(r *policyRun) float64 { return float64(r.Answered) / max(r.cpu.Seconds(), 0.01) }))),
			ms(s.middle(func(r *policyRun) float64 { return float64(r.P50) })), ms(s.middle(func(r *policyRun) float64 { return float64(r.P99) })),
			s.middle(func(r *policyRun) float64 { return float64(r.memory) })/1e6)
	}
	fmt.Fprintf(&b, "\nAt %s requests a second, laid down beforehand, from when each was due to its answer:\n\n| | answered a second | median | p99 | longest | asked late, p99 |\n| --- | --- | --- | --- | --- | --- |\n", thousands(int64(o.rate)))
	for _, s := range servers {
		if s.rated == 0 || len(s.runs) == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", s.name,
			thousands(int64(s.middle(func(r *policyRun) float64 { return float64(r.rated.Answered) / r.rated.Took.Seconds() }))),
			ms(s.middle(func(r *policyRun) float64 { return float64(r.rated.P50) })), ms(s.middle(func(r *policyRun) float64 { return float64(r.rated.P99) })),
			ms(s.middle(func(r *policyRun) float64 { return float64(r.rated.Max) })), ms(s.middle(func(r *policyRun) float64 { return float64(r.rated.Late) })))
	}
	return b.String()
}
