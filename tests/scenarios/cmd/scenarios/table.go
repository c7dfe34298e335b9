package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"weir/policy"
	"weir/tests/scenarios"
	"weir/userspace/config"
)

// table scores weir on some scenarios.
func table(args []string, _ io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("scenarios table", flag.ContinueOnError)
	names := flags.String("seeds", "training", "training, report, or `numbers` such as 3,8-11")
	path := flags.String("config", "", "a configuration `file` whose rules apply; empty: the built-in ones")
	jobs := flags.Int("jobs", min(2, runtime.NumCPU()), "scenarios at a `time`")
	each := flags.Bool("each", false, "a table for each seed as well")
	if err := flags.Parse(args); err != nil {
		return err
	}
	seeds, err := seedsOf(*names)
	if err != nil {
		return err
	}
	c := &config.Config{Rules: policy.DefaultRules(), Limits: policy.DefaultLimits()}
	if *path != "" {
		if c, err = config.Load(*path); err != nil {
			return err
		}
	}
	runs, err := runAll(seeds, *jobs, c)
	if err != nil {
		return err
	}
	columns := []scenarios.Column{{Name: "open"}, {Name: "closed"}}
	var parties []scenarios.Party
	for i, r := range runs {
		for j, s := range []*scenarios.Score{r.Open, r.Closed} {
			columns[j].Scores = append(columns[j].Scores, s)
		}
		if parties == nil {
			for _, t := range r.Open.Tallies {
				parties = append(parties, t.Party)
			}
		}
		o := r.Open.Options
		worst := r.Open.Worst()
		fmt.Fprintf(stdout, "seed %d (%d days, %s, cold %t): %d lines, %d events, %d decisions; stopped %.1f %%, refused %.3f %%, worst %s %.1f %%\n",
			seeds[i], o.Days, o.Mix, o.Cold, r.Lines, r.Events, r.Told, 100*r.Open.Stopped(), 100*r.Open.Refused(), worst.Name, 100*worst.Share())
		if *each {
			fmt.Fprintf(stdout, "\n%s\n", scenarios.Table(parties, []scenarios.Column{{Name: "open", Scores: []*scenarios.Score{r.Open}}, {Name: "closed", Scores: []*scenarios.Score{r.Closed}}}))
		}
	}
	fmt.Fprintf(stdout, "\n%s", scenarios.Table(parties, columns))
	return nil
}

// runAll scores all seeds, some at a time.
func runAll(seeds []uint64, jobs int, c *config.Config) ([]*scenarios.Run, error) {
	runs, errs := make([]*scenarios.Run, len(seeds)), make([]error, len(seeds))
	next := make(chan int)
	var group sync.WaitGroup
	for range jobs {
		group.Go(func() {
			for i := range next {
				runs[i], errs[i] = runOne(seeds[i], c)
			}
		})
	}
	for i := range seeds {
		next <- i
	}
	close(next)
	group.Wait()
	return runs, errors.Join(errs...)
}

func runOne(seed uint64, c *config.Config) (*scenarios.Run, error) {
	s, err := scenarios.New(scenarios.OptionsOf(seed))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "scenarios: seed %d, %d sessions\n", seed, s.Sessions())
	return s.Score(func() (scenarios.Engine, error) { return policy.NewEngine(c.Rules, c.Limits) })
}

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
