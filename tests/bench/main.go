// Command bench measures how fast weir reads logs, beside the programs that
// read them for the same purpose and beside grep as the limit, in one run on
// the same generated log, and counts what each has found of what happened.
//
// Each contender is a process of its own, on one core (weir on two as well),
// run several times in turn with the others; the table has the medians.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options say what to measure.
type options struct {
	weir     string
	peers    string // folder with the unpacked packages of the others
	lines    uint64 // of the log
	sample   uint64 // of its beginning, for slow contenders
	runs     int
	memory   []uint64 // lines after which weir's memory is measured
	realtime bool     // contenders have their cores to themselves
	update   string   // file to write the tables to
}

// others are what is measured by a word of its own; without one it is how fast
// logs are read. The last three are what the others start.
var others = map[string]func(ctx context.Context, args []string) error{
	"datapath":    runDatapath,
	"policy":      runPolicy,
	"stolen":      runStolen,
	"sessions":    runSessions,
	"flood":       runFlood,
	"load":        runLoad,
	"start":       runStart,
	"policyload":  runPolicyLoad,
	"policyfloor": func(_ context.Context, args []string) error { return withOne(args, runPolicyFloor) },
	"parse":       func(_ context.Context, args []string) error { return withOne(args, parse) },
}

func withOne(args []string, run func(string) error) error {
	if len(args) != 1 {
		return errors.New("want one argument")
	}
	return run(args[0])
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if other, ok := others[args[0]]; ok {
			return other(ctx, args[1:])
		}
	}
	var o options
	var memory string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`")
	flags.StringVar(&o.peers, "peers", "", "`folder` with the unpacked packages of the others (tests/setup.sh bench)")
	flags.Uint64Var(&o.lines, "lines", 1_000_000, "`lines` of the log")
	flags.Uint64Var(&o.sample, "sample", 100_000, "`lines` of it that slow contenders read")
	flags.IntVar(&o.runs, "runs", 3, "how `often` each contender runs")
	flags.StringVar(&memory, "memory", "1,10,30", "millions of `lines` after which weir's memory is measured; empty: not at all")
	flags.BoolVar(&o.realtime, "realtime", false, "give contenders that are not slow their cores before all other programs (chrt, as root)")
	flags.StringVar(&o.update, "update", "", "write the tables to `file` as well")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.memory, err = millions(memory); err != nil {
		return err
	}
	if o.runs < 1 || o.lines == 0 || o.sample == 0 {
		return errors.New("nothing to measure")
	}
	o.sample = min(o.sample, o.lines)
	return bench(ctx, o)
}

func bench(ctx context.Context, o options) error {
	folder, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)

	say("writing a log of %d lines", o.lines)
	logs, err := writeLogs(folder, o)
	if err != nil {
		return err
	}
	contenders, err := newContenders(folder, o)
	if err != nil {
		return err
	}
	for i := range o.runs { // in turn, so that a slow minute hits all
		for _, c := range contenders {
			if c.missing != "" {
				continue
			}
			say("run %d: %s", i+1, c.name)
			if err := c.run(ctx, logs.of(c)); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, c := range contenders {
		if c.missing != "" || c.told == nil {
			continue
		}
		say("what %s has found", c.name)
		if err := c.judge(ctx, logs.of(c)); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	report := table(contenders, logs, o)
	for _, lines := range o.memory {
		say("memory after %d lines", lines)
		peak, err := replayMemory(ctx, o, lines)
		if err != nil {
			return fmt.Errorf("memory of replay: %w", err)
		}
		report.memory = append(report.memory, memoryRow{lines, peak})
	}
	text := report.String()
	fmt.Print(text)
	if o.update != "" {
		return update(o.update, text)
	}
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func absolute(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}
