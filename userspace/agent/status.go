package agent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"weir/loader"
	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/intake"
	"weir/userspace/store"
)

// rates are measured between two looks. They belong to the core.
type rates struct {
	at       time.Time
	counters map[string]uint64
	lines    map[string]uint64
	packets  map[string]float64 // a second, by exit
	records  map[string]float64 // a second, by input
}

const ratesEvery = 5 * time.Second

// tick looks if it is time to.
func (r *rates) tick(a *Agent, now time.Time) {
	since := now.Sub(r.at)
	if since >= 0 && since < ratesEvery {
		return
	}
	counters, lines := make(map[string]uint64), make(map[string]uint64)
	for _, c := range a.counters() {
		counters[c.Name] = c.Packets
	}
	for _, f := range a.followers() {
		lines[f.input.Name()] = f.input.Stats().Lines
	}
	r.packets, r.records = perSecond(r.counters, counters, since), perSecond(r.lines, lines, since)
	r.at, r.counters, r.lines = now, counters, lines
}

func perSecond(before, now map[string]uint64, span time.Duration) map[string]float64 {
	out := make(map[string]float64)
	for name, n := range now {
		if was, known := before[name]; known && n >= was && span > 0 {
			out[name] = float64(n-was) / span.Seconds()
		}
	}
	return out
}

// engaged returns the kernel, nil in mode observe.
func (a *Agent) engaged() *kernel {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kernel
}

func (a *Agent) counters() []loader.Counter {
	k := a.engaged()
	if k == nil {
		return nil
	}
	counters, err := k.datapath.Counters()
	if err != nil {
		a.log.Warn("the kernel's counters cannot be read", "error", err)
	}
	return counters
}

// statusLine is what systemctl status shows.
func (a *Agent) statusLine() string {
	k := a.engaged()
	if k == nil {
		return fmt.Sprintf("observing; %d decisions since the start", a.core.counts.made)
	}
	var on []string
	for _, at := range k.datapath.Attachments() {
		if at.Mode != loader.ModeNone {
			on = append(on, at.Interface+" ("+at.Mode+")")
		}
	}
	if len(on) == 0 {
		on = []string{"no interface"}
	}
	return fmt.Sprintf("enforcing on %s; %d decisions since the start", strings.Join(on, ", "), a.core.counts.made)
}

// Status implements control.Backend.
func (a *Agent) Status(ctx context.Context) (*control.Status, error) {
	c := a.current()
	s := &control.Status{
		Version: a.o.Version,
		Mode:    string(c.Mode),
		PID:     os.Getpid(),
		Started: a.started,
		Uptime:  a.o.Now().Sub(a.started).Seconds(),
		Ports:   c.Ports,
		Errors:  a.faults.list(),
		Notes:   append(a.notes(), a.serviceNotes()...),
	}
	h := a.holds()
	s.Panic, s.Confirm = h.panic, h.confirm
	counters := a.counters()
	err := a.core.do(ctx, func() {
		s.Decisions = a.core.tally()
		for _, n := range counters {
			s.Counters = append(s.Counters, control.Counter{Name: n.Name, Packets: n.Packets, Bytes: n.Bytes, Rate: a.rates.packets[n.Name]})
		}
		s.Intakes, s.Patterns = a.intakes(), a.core.patterns()
		if k := a.engaged(); k != nil {
			s.ReadBack = a.core.readBackStatus(k.datapath.Checks())
		}
	})
	if err != nil {
		return nil, err
	}
	if k := a.engaged(); k != nil {
		for _, at := range k.datapath.Attachments() {
			s.Interfaces = append(s.Interfaces, control.Interface{Name: at.Interface, Mode: at.Mode, Reason: at.Reason})
		}
		if r := c.Ceiling.Rate; r.Every > 0 {
			s.Ceiling = &control.Ceiling{Rate: r.PerMinute(), Burst: r.Burst, Ports: c.CeilingPorts()}
		}
		fill, err := k.datapath.Fill()
		if err != nil {
			a.log.Warn("the fill of the kernel's table cannot be read", "error", err)
		}
		for _, f := range fill {
			s.Table.Used += f.Used
			s.Table.Fullest = max(s.Table.Fullest, f.Used)
			s.Table.Capacity = max(s.Table.Capacity, f.Capacity)
			s.Table.Refused += f.Refused
			s.Table.Displaced += f.Displaced
		}
	}
	s.Store, s.PostfixPolicy = a.storeStatus(), a.policyStatus()
	return s, nil
}

// intakes must run in a turn of the core.
func (a *Agent) intakes() []control.Intake {
	var out []control.Intake
	for _, f := range a.followers() {
		s := f.input.Stats()
		in := control.Intake{
			Name: s.Name, Type: s.Type, Found: f.why, State: s.State, Lines: s.Lines, Rate: a.rates.records[s.Name],
			Lost: s.Lost, Cut: s.Cut, Ignored: s.Ignored, Refused: s.Refused,
			Lag: s.Lag.Seconds(), Behind: s.Behind, Error: s.Error,
		}
		for _, l := range s.Losses {
			in.Losses = append(in.Losses, control.Loss{Reason: l.Reason, Count: l.Count, Last: l.Last})
		}
		if u := a.core.inputs[s.Name]; u != nil {
			in.Events, in.NotUnderstood, in.Sample = u.events, u.notUnderstood, u.sample
		}
		if f.ended() && f.err != nil {
			in.Error = f.err.Error()
		}
		if s.State == intake.StateWaiting && in.Error == "" {
			in.Error = s.State
		}
		out = append(out, in)
	}
	return out
}

// patterns must run in a turn of the core.
func (c *core) patterns() (out []control.Pattern) {
	for _, p := range c.parser.Stats().Patterns {
		if p.Lines > 0 {
			out = append(out, control.Pattern{Name: p.Name, Lines: p.Lines})
		}
	}
	slices.SortStableFunc(out, func(x, y control.Pattern) int { return cmp.Compare(y.Lines, x.Lines) })
	return out
}

func (a *Agent) storeStatus() control.Store {
	s := control.Store{Path: a.storePath()}
	saved, err := a.writer.state()
	if !saved.IsZero() {
		s.Checkpoint = &saved
	}
	if err != nil {
		s.Error = err.Error()
	}
	for _, path := range store.Files(s.Path) {
		if info, err := os.Stat(path); err == nil {
			s.Bytes += info.Size()
		}
	}
	return s
}

// tally counts what stands.
func (c *core) tally() control.Decisions {
	t := c.ledger.Tally()
	n := control.Decisions{Total: t.Total(), Pinned: t.Pinned, Users: t.Users, ByAction: make(map[string]int), Suspended: t.Total() - t.Users - t.InForce}
	for action, count := range t.ByAction {
		if count > 0 {
			n.ByAction[policy.Action(action).String()] = count
		}
	}
	return n
}
