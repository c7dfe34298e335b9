package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/tests/bench/live"
)

// datapathOptions say what to measure of the kernel's side.
type datapathOptions struct {
	peers       string   // folder with the unpacked packages of the others
	sources     []uint32 // how many flagged ones weir's tables have
	peerSources []uint32 // the same for the others
	prefixes    uint32
	runs        int
	length      time.Duration // of a run
	rounds      int           // of the warm program
	update      string        // file to write the tables to
}

// longestBench ends a benchmark that something holds up.
const longestBench = time.Hour

// runDatapath is the command's second half: how many packets weir and others
// judge.
func runDatapath(ctx context.Context, args []string) error {
	o := datapathOptions{prefixes: 10_000}
	var sources, peerSources string
	flags := flag.NewFlagSet("bench datapath", flag.ContinueOnError)
	flags.StringVar(&o.peers, "peers", "", "`folder` with the unpacked packages of the others (tests/setup.sh bench datapath)")
	flags.StringVar(&sources, "sources", "1,100000,1000000,4000000", "how many flagged `sources` weir has")
	flags.StringVar(&peerSources, "peersources", "100000,1000000", "how many flagged `sources` the others have")
	flags.IntVar(&o.runs, "runs", 5, "how `often` each row is measured")
	flags.DurationVar(&o.length, "for", 500*time.Millisecond, "how `long` a run takes")
	flags.IntVar(&o.rounds, "rounds", 15, "`rounds` of a million packets through a warm program")
	flags.StringVar(&o.update, "update", "", "write the tables to `file`, and the plot beside it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err1, err2 error
	o.sources, err1 = counts(sources)
	o.peerSources, err2 = counts(peerSources)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if o.runs < 1 || o.rounds < 1 || o.length <= 0 {
		return errors.New("nothing to measure")
	}
	ctx, cancel := context.WithTimeout(ctx, longestBench)
	defer cancel()
	r, err := benchDatapath(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(r)
	if o.update != "" {
		return r.update(o.update)
	}
	return nil
}

// benchDatapath measures everything, on one link.
func benchDatapath(ctx context.Context, o datapathOptions) (_ *datapathReport, err error) {
	link, err := live.NewLink()
	if err != nil {
		return nil, fmt.Errorf("make a link (as root?): %w", err)
	}
	b := &datapathBench{datapathOptions: o, link: link}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.fill(ctx); err != nil {
		return nil, err
	}
	for i := range o.runs { // in turn, so that a slow minute hits all
		for _, r := range b.rows {
			if r.missing != "" {
				continue
			}
			say("run %d: %s, %s", i+1, r.contender, r.what)
			if err := b.run(ctx, r); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", r.contender, r.what, err)
			}
		}
	}
	report := &datapathReport{datapathOptions: o, rows: b.rows}
	say("warm programs")
	if report.warm, err = b.warm(); err != nil {
		return nil, err
	}
	say("the table itself")
	report.table, err = b.table(ctx)
	return report, err
}

// datapathBench is a link, and what can be put at its host's end.
type datapathBench struct {
	datapathOptions
	link    *live.Link
	rows    []*row
	weirs   []*weir
	xdp     *xdpFilter // nil: missing
	closing []func() error
}

func (b *datapathBench) close() error {
	var errs []error
	for i := len(b.closing) - 1; i >= 0; i-- {
		errs = append(errs, b.closing[i]())
	}
	return errors.Join(append(errs, b.link.Close())...)
}

// gate judges packets at the host's end while it stands there.
type gate interface {
	enter() error
	leave() error
	count() (uint64, error) // packets judged as the row says
}

// row is a gate under one kind of traffic.
type row struct {
	contender, what string
	flagged         uint32
	traffic         live.Traffic
	gate            gate
	base            *row // the empty program that does the same; nil: this is one
	plotted         string
	missing         string // why it cannot run

	runs []pace
}

// pace is what one run has shown.
type pace struct {
	rate float64 // packets a second that the gate has judged
	part float64 // of all that were made
}

// settled is how long the last packets may still be on their way.
const settled = 5 * time.Millisecond

func (b *datapathBench) run(ctx context.Context, r *row) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	g, err := b.link.NewGenerator(r.traffic)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := r.gate.enter(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.gate.leave()) }()
	var before uint64
	made, took, err := g.Run(b.length, func() (err error) {
		before, err = r.gate.count()
		return err
	})
	if err != nil {
		return err
	}
	time.Sleep(settled)
	after, err := r.gate.count()
	if err != nil {
		return err
	}
	judged := float64(after - before)
	r.runs = append(r.runs, pace{judged / took.Seconds(), judged / float64(made)})
	return nil
}

// counts reads "1,100000".
func counts(text string) (list []uint32, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(part, 10, 24)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a number of sources", part)
		}
		list = append(list, uint32(n))
	}
	return list, nil
}
