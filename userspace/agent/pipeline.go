package agent

import (
	"fmt"
	"net/netip"
	"time"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/intake"
	"weir/userspace/maillog"
)

// pipeline makes decisions out of records. Live reading and replay go
// through it alike.
type pipeline struct {
	parser *maillog.Parser
	engine *policy.Engine
	ledger *sharedLedger
	recent *recent   // nil: evidence has no text
	told   *tellings // nil: nobody but the log tells of logins

	// latest is the latest time that an event may carry, read for a few
	// records at a time; nil trusts the log. A server whose clock is ahead would
	// otherwise carry the engine's time along.
	latest func() time.Time

	events    []policy.Event // of the records at hand
	texts     [][]byte       // for each of them, its record's
	decisions []policy.Decision
}

// observer is told what comes out of a pipeline, each event before the
// decisions that it caused. What it is given is valid until it returns.
type observer interface {
	event(*policy.Event)
	decision(*policy.Decision)
}

func newPipeline(c *config.Config, o maillog.Options) (*pipeline, error) {
	engine, err := policy.NewEngine(c.Rules, c.Limits)
	if err != nil {
		return nil, err
	}
	return &pipeline{
		parser: maillog.NewParser(o),
		engine: engine,
		ledger: newSharedLedger(),
	}, nil
}

// read takes records that have come together. Their events are judged some at a
// time, which is faster and comes to the same.
func (p *pipeline) read(batch []intake.Record, to observer) {
	p.events, p.texts = p.events[:0], p.texts[:0]
	for i := range batch {
		r := &batch[i]
		if r.Time.IsZero() {
			p.events = p.parser.Line(r.Line, r.Number, p.events)
		} else {
			p.events = p.parser.Message(r.Time, r.Host, r.Program, r.PID, r.Line, r.Number, p.events)
		}
		for len(p.texts) < len(p.events) {
			p.texts = append(p.texts, r.Line)
		}
		if len(p.events) >= policy.Ahead || i == len(batch)-1 {
			p.judge(p.events, p.texts, to)
			p.events, p.texts = p.events[:0], p.texts[:0]
		}
	}
}

// judge takes events of one or several records. texts are their records', for the
// evidence, nil if nobody will ask for them.
func (p *pipeline) judge(events []policy.Event, texts [][]byte, to observer) {
	if len(events) == 0 {
		return
	}
	var latest time.Time
	if p.latest != nil {
		latest = p.latest()
	}
	for i := range events {
		if i%policy.Ahead == 0 {
			p.engine.Foresee(events[i:])
		}
		var text []byte
		if texts != nil {
			text = texts[i]
		}
		if p.told.line(&events[i], text, latest) {
			p.take(&events[i], text, latest, to)
		}
	}
}

// take takes one event.
func (p *pipeline) take(e *policy.Event, text []byte, latest time.Time, to observer) {
	if p.latest != nil && e.Time.After(latest) {
		e.Time = latest
	}
	p.recent.add(e, text)
	to.event(e)
	p.decisions = p.engine.Observe(e, p.decisions[:0])
	for j := range p.decisions {
		d := &p.decisions[j]
		p.recent.fill(d.Evidence.Sample)
		to.decision(d)
	}
}

// winner returns what decides about prefix according to the ledger, nil if
// nothing does.
func winner(l *policy.Ledger, prefix netip.Prefix) *policy.Decision { return l.Deciding(prefix) }

// allowed reports whether an allow entry or pin wins over d.
func allowed(l *policy.Ledger, d *policy.Decision) bool {
	if d.User != "" {
		return false
	}
	w := winner(l, d.Prefix)
	return w != nil && w.Action == policy.Allow
}

// until tells when d ends, for messages.
func until(d *policy.Decision) string {
	if d.Until.IsZero() {
		return "never"
	}
	return d.Until.UTC().Format(time.RFC3339)
}

// name tells what a decision is by, for messages.
func name(d *policy.Decision) string {
	switch {
	case d.Pinned:
		return fmt.Sprintf("pin %v %v", d.Action, d.Target)
	case d.Listed:
		return fmt.Sprintf("list %s: %v %v", d.Rule, d.Action, d.Target)
	case d.Configured() && d.Reason != policy.ConfiguredReason:
		return fmt.Sprintf("%v is allowed: %s", d.Target, d.Reason)
	case d.Configured():
		return fmt.Sprintf("configuration: %v %v", d.Action, d.Target)
	}
	return fmt.Sprintf("rule %s: %v %v", d.Rule, d.Action, d.Target)
}
