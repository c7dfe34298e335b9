package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/policy"
	"weir/tests/document"
	"weir/tests/scenarios"
	"weir/userspace/config"
)

// tableOptions say what to score.
type tableOptions struct {
	seeds  string
	config string
	jobs   int
	each   bool
	why    string // parties
	peers  string // folder with the unpacked packages of the others
	update string
}

// table scores weir, and other programs beside it, on some scenarios.
func table(args []string, _ io.Reader, stdout io.Writer) error {
	var o tableOptions
	flags := flag.NewFlagSet("scenarios table", flag.ContinueOnError)
	flags.StringVar(&o.seeds, "seeds", "training", "training, report, or `numbers` such as 3,8-11")
	flags.StringVar(&o.config, "config", "", "a configuration `file` whose rules apply; empty: the built-in ones")
	flags.IntVar(&o.jobs, "jobs", min(2, runtime.NumCPU()), "scenarios at a `time`")
	flags.BoolVar(&o.each, "each", false, "a table for each seed as well")
	flags.StringVar(&o.why, "why", "", "say which rules refused items of these `parties`, with commas between; all: of all that are good")
	flags.StringVar(&o.peers, "peers", "", "`folder` with the unpacked packages of the others (tests/setup.sh bench); empty: weir alone")
	flags.StringVar(&o.update, "update", "", "write the tables to `file` as well, and the plot beside it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	seeds, err := seedsOf(o.seeds)
	if err != nil {
		return err
	}
	c := &config.Config{Rules: policy.DefaultRules(), Limits: policy.DefaultLimits()}
	if o.config != "" {
		if c, err = config.Load(o.config); err != nil {
			return err
		}
	}
	var list []*peer
	if o.peers != "" {
		list = newPeers(o.peers)
	}
	results, err := runAll(ctx, seeds, o, c, list)
	if err != nil {
		return err
	}
	r := newReport(o, results, list)
	fmt.Fprint(stdout, r.text(seeds, o.each))
	if o.update == "" {
		return nil
	}
	plot := filepath.Join(filepath.Dir(o.update), plotName)
	return errors.Join(document.Replace(o.update, begin, end, r.markdown(seeds)), os.WriteFile(plot, []byte(scenarios.Plot(r.parties, r.columns)), 0o644))
}

// result is what became of one scenario.
type result struct {
	*scenarios.Run
	peers []*scenarios.Score
	limit *scenarios.Score
	took  time.Duration // of weir

	reasons *reasons // nil: nobody asks
}

// runAll scores all seeds, some at a time.
func runAll(ctx context.Context, seeds []uint64, o tableOptions, c *config.Config, list []*peer) ([]result, error) {
	results, errs := make([]result, len(seeds)), make([]error, len(seeds))
	next := make(chan int)
	var group sync.WaitGroup
	for range o.jobs {
		group.Go(func() {
			for i := range next {
				if errs[i] = ctx.Err(); errs[i] == nil {
					results[i], errs[i] = runOne(ctx, seeds[i], o, c, list)
				}
			}
		})
	}
	for i := range seeds {
		next <- i
	}
	close(next)
	group.Wait()
	return results, errors.Join(errs...)
}

func runOne(ctx context.Context, seed uint64, o tableOptions, c *config.Config, list []*peer) (r result, err error) {
	s, err := scenarios.New(scenarios.OptionsOf(seed))
	if err != nil {
		return r, err
	}
	say("seed %d: weir", seed)
	r.reasons = watch(s, o.why)
	began := time.Now()
	if r.Run, err = s.Score(func() (scenarios.Engine, error) { return policy.NewEngine(c.Rules, c.Limits) }); err != nil {
		return r, err
	}
	r.took = time.Since(began)
	s.Watch = nil
	limit, err := s.Score(func() (scenarios.Engine, error) { return s.Oracle(), nil })
	if err != nil {
		return r, err
	}
	r.limit = limit.Open
	var there []*peer
	for _, p := range list {
		if p.missing == "" {
			there = append(there, p)
		}
	}
	if len(there) > 0 {
		r.peers, err = judge(ctx, s, there)
	}
	return r, err
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "scenarios: "+format+"\n", args...) }

// seedsOf reads a name of seeds, or a list of numbers and ranges.
func seedsOf(text string) (seeds []uint64, err error) {
	switch text {
	case "training":
		return scenarios.TrainingSeeds, nil
	case "report":
		return scenarios.ReportSeeds, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		a, err1 := strconv.ParseUint(from, 10, 64)
		b, err2 := strconv.ParseUint(to, 10, 64)
		if err := errors.Join(err1, err2); err != nil || b < a || b-a > 1000 {
			return nil, fmt.Errorf("%q names no seeds: want training, report, or numbers such as 3,8-11", part)
		}
		for ; a <= b; a++ {
			seeds = append(seeds, a)
		}
	}
	return seeds, nil
}
