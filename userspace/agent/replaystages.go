package agent

import (
	"context"

	"weir/policy"
	"weir/userspace/intake"
	"weir/userspace/maillog"
)

// A replay has three stages, each a goroutine of its own: one cuts the log
// into lines and drops the noise, one makes events of what is left, one
// judges them. So two cores are used almost fully, and what comes out is what
// one core would make of it: every stage keeps the order.

// batch is a stretch of a log on its way through the stages.
type batch struct {
	text   []byte // of the lines; never grown, so that they stay where they are
	lines  []maillog.Scanned
	count  uint64 // lines, with those that were dropped
	read   int64  // bytes of the log so far
	events []policy.Event
}

// Batches are small enough that what one stage has written is still in a cache
// when the next reads it, and large enough that handing over costs nothing.
const (
	batchText  = 128 << 10
	batchLines = 1024
	batchCount = 4096 // with the noise: progress and cancelling wait for a batch
	batches    = 8
)

// stages runs a log through all of them.
func (r *replay) stages(ctx context.Context, log *intake.Replay) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	free, scanned, parsed := make(chan *batch, batches), make(chan *batch, batches), make(chan *batch, batches)
	for range batches {
		free <- &batch{text: make([]byte, 0, batchText), lines: make([]maillog.Scanned, 0, batchLines)}
	}
	var scanErr error
	go func() {
		defer close(scanned)
		scanErr = r.scan(ctx, log, free, scanned)
	}()
	go func() {
		defer close(parsed)
		for b := range scanned {
			r.parse(b)
			parsed <- b
		}
	}()
	var err error
	for b := range parsed {
		if err == nil {
			r.pipeline.judge(b.events, nil, r.to)
			if r.progress != nil {
				r.progress(r.read+b.read, r.total)
			}
			if err = r.to.failed(); err != nil {
				stop()
			}
		}
		free <- b
	}
	if err == nil {
		err = scanErr
	}
	return err
}

// scan fills free batches with the lines that the parser has to read.
func (r *replay) scan(ctx context.Context, log *intake.Replay, free <-chan *batch, scanned chan<- *batch) error {
	var scanner maillog.Scanner
	b := <-free
	send := func() error {
		b.read = log.Consumed()
		scanned <- b
		if b = nil; ctx.Err() != nil {
			return ctx.Err()
		}
		b = <-free
		b.text, b.lines, b.count = b.text[:0], b.lines[:0], 0
		return nil
	}
	before := r.lines
	err := intake.Lines(log, func(line []byte, number uint64) error {
		if len(b.text)+len(line) > cap(b.text) || len(b.lines) == cap(b.lines) || b.count == batchCount {
			if err := send(); err != nil {
				return err
			}
			if len(line) > cap(b.text) {
				b.text = make([]byte, 0, len(line))
			}
		}
		r.lines = before + number
		b.count++
		start := len(b.text)
		b.text = append(b.text, line...)
		b.lines = b.lines[:len(b.lines)+1]
		if !scanner.Scan(b.text[start:], r.lines, &b.lines[len(b.lines)-1]) {
			b.text, b.lines = b.text[:start], b.lines[:len(b.lines)-1]
		}
		return nil
	})
	if b != nil {
		b.read = log.Consumed()
		scanned <- b
	}
	return err
}

// parse makes events of a batch's lines.
func (r *replay) parse(b *batch) {
	p := r.pipeline.parser
	p.Passed(b.count)
	b.events = b.events[:0]
	for i := range b.lines {
		b.events = p.Read(&b.lines[i], b.events)
	}
}
