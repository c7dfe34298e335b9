package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
)

// Engine judges events by rules. It is not safe for concurrent use. The zero
// Engine is not usable; see NewEngine.
//
// # Time
//
// The engine knows no time but that of events. Its own time is the latest it
// has seen and never goes backwards; decisions carry it. An event older than
// that is judged all the same: it counts in a window as long as it is not
// older than the window's youngest observation less the rule's Within. A
// caller that reads live records must not pass on a time later than its own
// clock's: one record from next year would carry every later decision there.
//
// # Under a decision
//
// While a source is dropped, nothing it does is counted for it, and it is
// judged again only after the end; then a repeat lasts longer. A limited
// source can still come to be dropped. While a user is guarded, nothing is
// counted for the user; each source that is not familiar to the user and
// acts for it is judged at its first event.
//
// # Bounds
//
// See Limits. A source or user beyond the bound displaces one that was not
// seen for long, with its counts, its familiarity and its past offences (see
// clock for which). Whoever wants a source forgotten needs about as many
// other sources as the limit, all between two events of that source, so a
// table of a million sources costs an attacker a million addresses. Users
// enter their table by succeeding only, or by an event that a rule per user
// counts; with the default rules no invented name does. Decisions in force
// are not the engine's: nothing lifts them but their end.
type Engine struct {
	limits   Limits
	rules    []Rule
	plans    []plan
	byKind   [len(kindNames)]selection
	now      int64 // latest time of an event, nanoseconds since 1970
	key      sourceKey
	index    index // of sources
	sources  clock[sourceState]
	users    clock[userState] // found by their name
	names    nameTable
	labels   labelTable
	seen     pool[observation]
	bySource side
	byUser   side
	foreseen uint64 // what Foresee has read, so that it is read

	site      site
	nets      netTable
	probation probation
	weighs    bool  // a rule does
	guesses   *plan // whose windows tell a guesser; nil: no rule weighs failures
	locator   Locator
	saver     *Saver // nil: nobody writes its state
}

// Locator tells in which country an address is, as a number that stands for
// it: the two letters of ISO 3166 as one, high byte first.
type Locator interface {
	Country(netip.Addr) (country uint16, ok bool)
}

// SetLocator gives the engine a way to tell countries; without one (nil), and
// of addresses that it does not know, rules that count them count nothing.
func (e *Engine) SetLocator(l Locator) { e.locator = l }

// plan is a rule as the engine runs it.
type plan struct {
	rule   *Rule
	number int // among the rules
	window int // its window within a block of its side
	counts [len(kindNames)]bool
}

// selection is the plans that count one kind of event, in the rules' order.
type selection struct{ source, user, prefix []*plan }

// NewEngine returns an engine without history. It fails with RuleErrors if a
// rule is not valid, or if a limit is not.
func NewEngine(rules []Rule, limits Limits) (*Engine, error) {
	if err := limits.Validate(); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := ValidateRules(rules); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	e := &Engine{
		limits:  limits,
		key:     newSourceKey(),
		sources: newClock[sourceState](),
		users:   newClock[userState](),
		names:   nameTable{seed: maphash.MakeSeed()},
		site:    newSite(),
		nets:    netTable{key: newSourceKey(), limit: max(limits.Sources/4, MinSources), nets: newClock[net]()},
	}
	e.plan(rules)
	return e, nil
}

// plan compiles rules, which are valid, and sets both sides to their width.
func (e *Engine) plan(rules []Rule) {
	e.rules = slices.Clone(rules)
	e.plans = make([]plan, len(rules))
	e.byKind = [len(kindNames)]selection{}
	e.bySource = side{notes: e.sources.notes}
	e.byUser = side{notes: e.users.notes}
	e.guesses, e.weighs = nil, false
	for i := range e.rules {
		r := &e.rules[i]
		r.Events = slices.Clone(r.Events)
		p := &e.plans[i]
		p.rule, p.number = r, i
		if s := e.sideOf(r); s != nil {
			p.window = s.width
			s.width++
		}
		for _, k := range r.Events {
			p.counts[k] = true
			switch by := &e.byKind[k]; r.Per {
			case PerSource:
				by.source = append(by.source, p)
			case PerUser:
				by.user = append(by.user, p)
			default:
				by.prefix = append(by.prefix, p)
			}
		}
		e.weighs = e.weighs || r.Measure == MeasureWeight
		if e.guesses == nil && r.Measure == MeasureWeight && p.counts[AuthFailure] {
			e.guesses = p
		}
	}
}

// sideOf returns where the windows of a rule stand, nil for one per prefix.
func (e *Engine) sideOf(r *Rule) *side {
	switch r.Per {
	case PerSource:
		return &e.bySource
	case PerUser:
		return &e.byUser
	}
	return nil
}

// Rules returns the rules in force. The caller must not change them.
func (e *Engine) Rules() []Rule { return e.rules }

// Stats is how full an engine is, against its Limits.
type Stats struct{ Sources, Users, Observations int }

// Stats returns how full the engine is.
func (e *Engine) Stats() Stats {
	return Stats{Sources: int(e.sources.len()), Users: int(e.users.len()), Observations: e.seen.used}
}
