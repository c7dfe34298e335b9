package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"weir/policy"
	"weir/userspace/check"
	"weir/userspace/config"
	"weir/userspace/intake"
	"weir/userspace/maillog"
)

// What is judged of the past: the decisions of a day, by an engine that has
// seen a week before.
const (
	theDay   = 24 * time.Hour
	theWeek  = 8 * theDay
	mostPast = 1 << 20 // sources whose past is kept
	mostFew  = 64      // users of a source that are told apart
)

var errPatience = errors.New("patience is over")

// judgeDay reads what the inputs hold of the last days, merged by the time of
// events, and has the rules decide.
func judgeDay(ctx context.Context, c *config.Config, spared []check.Spared, all []wanted, now time.Time, patience time.Duration) check.Rules {
	day := &day{Rules: check.Rules{Since: now.Add(-theDay)}, past: make(map[policy.Source]*past), flagged: make(map[policy.Target]bool)}
	p, err := newPipeline(c, maillog.DefaultOptions())
	if err == nil {
		err = setLocator(c, p.engine)
	}
	if err != nil {
		day.NotSeen = err
		return day.Rules
	}
	var protected []policy.Allowed
	for _, s := range spared {
		protected = append(protected, policy.Allowed{Prefix: s.Prefix, Reason: s.Why})
	}
	p.ledger.SetAllow(nil, protected...)
	day.ledger = p.ledger.Ledger

	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	var logs []iter.Seq[policy.Event]
	for _, w := range all {
		logs = append(logs, day.events(ctx, w, now))
	}
	for e := range merged(logs) {
		if e.Time.After(now) {
			continue // a stamp that is wrong would carry the engine along
		}
		if day.Began.IsZero() {
			day.Began = e.Time
		}
		p.take(&e, nil, time.Time{}, day)
	}
	if errors.Is(context.Cause(ctx), errPatience) {
		day.Stopped = fmt.Sprintf("reading the logs took longer than %s", patience)
	}
	if len(day.unread) > 0 && day.Events == 0 {
		day.NotSeen = errors.Join(day.unread...)
	}
	return day.Rules
}

// day is told of events and decisions.
type day struct {
	check.Rules
	ledger  *policy.Ledger
	past    map[policy.Source]*past
	flagged map[policy.Target]bool
	unread  []error
}

// past is what a source has succeeded in.
type past struct {
	first  time.Time
	logins uint64
	users  []string
}

// event implements observer. The engine is asked after it, so that a source's
// past is there when it is decided about.
func (d *day) event(e *policy.Event) {
	if !e.Time.Before(d.Since) {
		d.Events++
		d.Reached = e.Time
	}
	if e.Kind != policy.AuthSuccess || !e.Source.IsValid() {
		return
	}
	source := policy.SourceOf(e.Source)
	x := d.past[source]
	if x == nil {
		if len(d.past) == mostPast {
			return
		}
		x = &past{first: e.Time}
		d.past[source] = x
	}
	x.logins++
	if len(x.users) < mostFew && !slices.Contains(x.users, e.User) {
		x.users = append(x.users, e.User)
	}
}

// decision implements observer.
func (d *day) decision(made *policy.Decision) {
	if made.Action == policy.Release {
		return
	}
	d.ledger.Expire(made.Since)
	d.ledger.Put(made.Since, *made)
	if made.Since.Before(d.Since) || d.flagged[made.Target] {
		return
	}
	if allowed(d.ledger, made) {
		d.Spared++
		return
	}
	d.flagged[made.Target] = true
	f := check.Flag{
		Target: printable(made.Target.String()), User: made.User != "", At: made.Since.In(d.Since.Location()),
		Action: made.Action.String(), Rule: made.Rule, Reason: printable(made.Reason),
	}
	if made.User == "" {
		if x := d.past[policy.SourceOf(made.Prefix.Addr())]; x != nil && policy.SourceOf(made.Prefix.Addr()).Prefix() == made.Prefix {
			f.Logins, f.Users, f.First = x.logins, len(x.users), x.first.In(d.Since.Location())
		}
	}
	d.Flags = append(d.Flags, f)
}

// merged yields events of several logs by their time; each log's stay in the
// order in which they stand there.
func merged(logs []iter.Seq[policy.Event]) iter.Seq[policy.Event] {
	return func(yield func(policy.Event) bool) {
		type head struct {
			event policy.Event
			next  func() (policy.Event, bool)
		}
		var heads []*head
		for _, log := range logs {
			next, stop := iter.Pull(log)
			defer stop()
			if e, ok := next(); ok {
				heads = append(heads, &head{e, next})
			}
		}
		for len(heads) > 0 {
			first := 0
			for i, h := range heads {
				if h.event.Time.Before(heads[first].event.Time) {
					first = i
				}
			}
			h := heads[first]
			if !yield(h.event) {
				return
			}
			var more bool
			if h.event, more = h.next(); !more {
				heads = slices.Delete(heads, first, first+1)
			}
		}
	}
}

// events yields what an input holds of the last days.
func (d *day) events(ctx context.Context, w wanted, now time.Time) iter.Seq[policy.Event] {
	return func(yield func(policy.Event) bool) {
		in, err := newInput(w.Intake, false, nil)
		if err == nil {
			switch in := in.(type) {
			case *intake.File:
				err = fileEvents(ctx, w.Path, now, yield)
			case *intake.Journal:
				err = journalEvents(ctx, in, now, yield)
			}
		}
		if err != nil && !errors.Is(err, errEnough) {
			d.unread = append(d.unread, err)
		}
	}
}

// errEnough ends reading.
var errEnough = errors.New("enough was read")

// looksEvery is how many lines are read until it is asked whether to go on.
const looksEvery = 1024

// fileEvents reads those files of a log that were written to in the last days.
func fileEvents(ctx context.Context, path string, now time.Time, yield func(policy.Event) bool) error {
	parts, err := intake.Parts(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is told where the log is examined
	}
	if err != nil {
		return err
	}
	parts = slices.DeleteFunc(parts, func(p intake.Part) bool { return now.Sub(p.Modified) > theWeek })
	if len(parts) == 0 {
		return nil
	}
	parser := maillog.NewParser(maillog.Options{Location: now.Location(), Reference: parts[0].Modified})
	var events []policy.Event
	var lines uint64
	for _, part := range parts {
		log, _, err := intake.OpenReplay(part.Path)
		if err != nil {
			return err
		}
		err = intake.Lines(log, func(line []byte, _ uint64) error {
			if lines++; lines%looksEvery == 0 && ctx.Err() != nil {
				return errEnough
			}
			events = parser.Line(line, lines, events[:0])
			return give(events, yield)
		})
		if err := errors.Join(err, log.Close()); err != nil {
			return err
		}
	}
	return nil
}

func journalEvents(ctx context.Context, j *intake.Journal, now time.Time, yield func(policy.Event) bool) error {
	parser := maillog.NewParser(maillog.DefaultOptions())
	var events []policy.Event
	var lines uint64
	err := j.Past(ctx, now.Add(-theWeek), 0, func(batch []intake.Record, _ intake.Position) error {
		if ctx.Err() != nil {
			return errEnough
		}
		for i := range batch {
			r := &batch[i]
			lines++
			events = parser.Message(r.Time, r.Host, r.Program, r.PID, r.Line, lines, events[:0])
			if err := give(events, yield); err != nil {
				return err
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return errEnough
	}
	return err
}

func give(events []policy.Event, yield func(policy.Event) bool) error {
	for i := range events {
		if !yield(events[i]) {
			return errEnough
		}
	}
	return nil
}
