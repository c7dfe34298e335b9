package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"weir/userspace/config"
	"weir/userspace/intake"
)

// follower is one input that is being read.
type follower struct {
	wanted
	input intake.Input
	stop  context.CancelFunc
	done  chan struct{}
	err   error // why it ended by itself; valid after done
}

// newInput makes the input that the configuration describes.
func newInput(c config.Intake, fromStart bool, log *slog.Logger) (intake.Input, error) {
	switch c.Type {
	case intake.TypeFile:
		o := intake.DefaultFileOptions()
		o.Path, o.FromStart, o.Logger = c.Path, fromStart, log
		return intake.NewFile(o)
	case intake.TypeJournal:
		o := intake.DefaultJournalOptions()
		o.Directory, o.Units, o.FromStart, o.Logger = c.Path, c.Units, fromStart, log
		return intake.NewJournal(o)
	case intake.TypeSyslog:
		o := intake.DefaultSyslogOptions()
		o.Network, o.Path, o.Address, o.From, o.Logger = c.Network, c.Path, c.Address, c.From, log
		return intake.NewSyslog(o)
	}
	return nil, fmt.Errorf("unknown type of intake %q", c.Type)
}

// follow brings the followers in line with what is wanted: those that are not
// any more stop, new ones start where they were left before.
func (a *Agent) follow(all []wanted) {
	var kept []*follower
	for _, f := range a.followers() {
		if slices.ContainsFunc(all, f.same) && !f.ended() {
			kept = append(kept, f)
			continue
		}
		a.leave(f)
		if f.why != "" && !slices.ContainsFunc(all, f.named) {
			a.forget(f.input.Name())
		}
	}
	for _, w := range all {
		if slices.ContainsFunc(kept, func(f *follower) bool { return f.same(w) }) {
			continue
		}
		f, err := a.start(w)
		if err != nil {
			a.log.Error("input cannot be read", "file", a.o.ConfigPath, "line", w.Line, "error", err)
			continue
		}
		kept = append(kept, f)
	}
	a.mu.Lock()
	a.inputs = kept
	a.mu.Unlock()
}

// leave ends the reading of an input.
func (a *Agent) leave(f *follower) {
	f.stop()
	<-f.done
	a.log.Info("input is no longer read", "input", f.input.Name())
}

// leaveAll ends all reading.
func (a *Agent) leaveAll() {
	for _, f := range a.followers() {
		a.leave(f)
	}
}

func (a *Agent) followers() []*follower {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.inputs)
}

// start reads one input until it is stopped.
func (a *Agent) start(w wanted) (*follower, error) {
	input, err := newInput(w.Intake, a.o.fromStart, a.log)
	if err != nil {
		return nil, err
	}
	name := input.Name()
	ctx, stop := context.WithCancel(context.Background())
	var from intake.Position
	if err := a.core.do(ctx, func() { from = a.core.positions[name] }); err != nil {
		stop()
		return nil, err
	}
	f := &follower{wanted: w, input: input, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.err = input.Run(ctx, from, func(batch []intake.Record, after intake.Position) error {
			// Not ctx: what a stopped input had received is still taken.
			return a.core.do(context.Background(), func() { a.core.consume(name, batch, after) })
		})
		if f.err != nil && ctx.Err() == nil {
			a.log.Error("input cannot be read any more: mend it and reload the configuration", "input", name, "error", f.err)
		}
	}()
	return f, nil
}

// ended reports whether the input has ended by itself.
func (f *follower) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}
