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
	written  int // bytes of the last snapshot
}

// plan is a rule as the engine runs it.
type plan struct {
	rule   *Rule
	number int // among the rules
	window int // its window within a block of its side
	counts [len(kindNames)]bool
}

// selection is the plans that count one kind of event, in the rules' order.
type selection struct{ source, user []*plan }

// sourceState is what is known of a source beside its windows.
type sourceState struct {
	source   Source
	familiar familiarity
	until    int64 // end of the latest decision, 0 for none
	tally
	failed   uint32 // a bit for each user that may have counted here; see bit
	offences uint16
	action   Action // of the latest decision
}

// bit returns the bit of a user's number in sourceState.failed.
func bit(user uint32) uint32 { return 1 << (user * 0x9e3779b9 >> 27) }

// under reports the action that the source is under at a time, 0 for none.
func (s *sourceState) under(at int64) Action {
	if at < s.until {
		return s.action
	}
	return 0
}

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
		limits: limits,
		key:    newSourceKey(),
		names:  nameTable{seed: maphash.MakeSeed()},
	}
	e.plan(rules)
	return e, nil
}

// plan compiles rules, which are valid, and sets both sides to their width.
func (e *Engine) plan(rules []Rule) {
	e.rules = slices.Clone(rules)
	e.plans = make([]plan, len(rules))
	e.byKind = [len(kindNames)]selection{}
	e.bySource = side{}
	e.byUser = side{}
	for i := range e.rules {
		r := &e.rules[i]
		r.Events = slices.Clone(r.Events)
		p := &e.plans[i]
		p.rule, p.number = r, i
		s := e.sideOf(r)
		p.window = s.width
		s.width++
		for _, k := range r.Events {
			p.counts[k] = true
			if r.Per == PerSource {
				e.byKind[k].source = append(e.byKind[k].source, p)
			} else {
				e.byKind[k].user = append(e.byKind[k].user, p)
			}
		}
	}
}

func (e *Engine) sideOf(r *Rule) *side {
	if r.Per == PerSource {
		return &e.bySource
	}
	return &e.byUser
}

// Rules returns the rules in force. The caller must not change them.
func (e *Engine) Rules() []Rule { return e.rules }

// Stats is how full an engine is, against its Limits.
type Stats struct{ Sources, Users, Observations int }

// Stats returns how full the engine is.
func (e *Engine) Stats() Stats {
	return Stats{Sources: int(e.sources.len()), Users: int(e.users.len()), Observations: e.seen.used}
}

// Judged reports whether addr can be flagged at all. Loopback, unspecified,
// multicast and link-local addresses cannot: they are the host itself or its
// own wire, and nothing good comes of dropping them.
func Judged(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsValid() && !addr.IsLoopback() && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast()
}

// Times outside 1970 to 2242 are not times of a mail log, and would not fit.
const maxUnixSeconds = 1 << 33

// maxRecipients bounds what one message counts for.
const maxRecipients = 1 << 20

// Observe takes one event and appends the decisions that follow from it to
// out: first that on the source for what it did itself, then, for a rule per
// user, the guard on the user and those on the user's sources, in the order
// in which they came. An event without a source that can be flagged, of an
// unknown kind, or without a sensible time changes nothing.
func (e *Engine) Observe(ev *Event, out []Decision) []Decision {
	if s := ev.Time.Unix(); s <= 0 || s >= maxUnixSeconds {
		return out
	}
	at := ev.Time.UnixNano()
	e.now = max(e.now, at)
	if int(ev.Kind) >= len(e.byKind) || !Judged(ev.Source) {
		return out
	}
	plans := &e.byKind[ev.Kind]
	success := ev.User != "" && (ev.Kind == AuthSuccess || ev.Kind == Message)
	if !success && len(plans.source) == 0 && (len(plans.user) == 0 || ev.User == "") {
		return out
	}
	o := observation{
		at:      at,
		line:    ev.Line,
		addr:    ev.Source.As16(),
		kind:    ev.Kind,
		user:    e.names.refer(ev.User),
		service: e.labels.number(ev.Service),
		server:  e.labels.number(ev.Server),

		recipients: uint32(min(max(ev.Recipients, 1), maxRecipients)),
	}
	source := SourceOf(ev.Source)
	if len(plans.source) > 0 || success {
		out = e.observeSource(source, plans.source, &o, success, out)
	}
	if o.user != 0 && (len(plans.user) > 0 || success) {
		out = e.observeUser(source, plans.user, &o, success, out)
	}
	e.names.release(o.user)
	return out
}

// observeSource judges a source for what it did itself.
func (e *Engine) observeSource(source Source, plans []*plan, o *observation, success bool, out []Decision) []Decision {
	s := e.source(source)
	under := s.under(o.at)
	if success {
		if under == 0 {
			s.familiar.learn(o.at)
		}
		if s.block != 0 && s.failed&bit(o.user) != 0 {
			e.forgiveSource(s, o)
		}
	}
	var fired *plan
	for _, p := range plans {
		r := p.rule
		if under != 0 && severity(r.Action) <= severity(under) ||
			r.Measure == MeasureUsers && o.user == 0 ||
			r.SpareKnown != 0 && s.familiar.since(o.at, r.SpareKnown) {
			continue
		}
		s.failed |= bit(o.user)
		if e.add(&e.bySource, &s.tally, p, o) && (fired == nil || severity(r.Action) > severity(fired.rule.Action)) {
			fired = p
		}
	}
	if fired == nil {
		return out
	}
	w := &e.bySource.windows(s.block)[fired.window]
	d := Decision{Evidence: e.evidence(w)}
	d.Reason = e.sourceReason(fired.rule, source, w)
	return append(out, e.flag(s, fired.rule, d))
}

// add counts o in the window of p and reports whether that window has
// reached the threshold.
func (e *Engine) add(s *side, t *tally, p *plan, o *observation) bool {
	if t.block == 0 {
		t.block = s.open()
	}
	t.counted = true
	w := &s.windows(t.block)[p.window]
	if e.seen.used >= e.limits.Observations {
		e.makeRoom(t.block, s, w)
	}
	return e.count(s, w, p.rule, o) && w.reached(p.rule)
}

// find returns the number of a source, 0 if it is not known.
func (e *Engine) find(source Source, hash uint32) uint32 {
	for at := hash; ; {
		if n := e.index.probe(hash, &at); n == 0 || e.sources.at(n).source == source {
			return n
		}
	}
}

// source returns the state of a source, which it enters if it is new.
func (e *Engine) source(source Source) *sourceState {
	hash := e.key.hash(source)
	n := e.find(source, hash)
	if n != 0 {
		return e.sources.touch(n)
	}
	if int(e.sources.len()) < e.limits.Sources {
		n = e.sources.add()
	} else {
		n = e.sources.leave()
		s := e.sources.at(n)
		e.closeBlock(&e.bySource, &s.block)
		e.index.remove(e.key.hash(s.source), n)
		e.sources.clear(n)
	}
	e.index.put(hash, n)
	s := e.sources.at(n)
	s.source = source
	return s
}

// forgiveSource takes back what o's user had failed from a source, because
// o is that user's success.
func (e *Engine) forgiveSource(s *sourceState, o *observation) {
	windows := e.bySource.windows(s.block)
	for i := range e.plans {
		if p := &e.plans[i]; p.rule.SuccessForgives {
			e.forgive(&e.bySource, &windows[p.window], o.user, o.at)
		}
	}
	e.tidy(s)
}

// tidy closes the block of s if nothing is left in it.
func (e *Engine) tidy(s *sourceState) {
	if s.block == 0 {
		return
	}
	windows := e.bySource.windows(s.block)
	for i := range windows {
		if windows[i].first != 0 {
			return
		}
	}
	e.closeBlock(&e.bySource, &s.block)
	s.failed = 0
}

// flag puts a source under a decision of r and completes d. What rules that
// are no harsher than r have counted is used up, and the source is a
// stranger again: it has to earn its familiarity anew.
func (e *Engine) flag(s *sourceState, r *Rule, d Decision) Decision {
	s.offences = offence(s.offences, s.until, e.now, r)
	s.until = e.now + int64(r.Lasts(int(s.offences)))
	s.action = r.Action
	s.familiar = familiarity{}
	if s.block != 0 {
		windows := e.bySource.windows(s.block)
		for i := range e.plans {
			if p := &e.plans[i]; p.rule.Per == PerSource && severity(p.rule.Action) <= severity(r.Action) {
				e.empty(&e.bySource, &windows[p.window])
			}
		}
		e.tidy(s)
	}
	d.Target = Target{Prefix: s.source.Prefix()}
	d.Action = r.Action
	d.Rate = r.Rate
	d.Since = instant(e.now)
	d.Until = instant(s.until)
	d.Rule = r.Name
	d.Offence = int(s.offences)
	return d
}

// offence returns the number of an offence at now under r, after a last
// decision that ended or ends at until.
func offence(before uint16, until, now int64, r *Rule) uint16 {
	if before == 0 || now-until > int64(r.forget()) {
		return 1
	}
	return min(before, 1<<16-2) + 1
}

// severity orders the actions on sources from mild to harsh.
func severity(a Action) int {
	switch a {
	case Limit:
		return 1
	case Tarpit:
		return 2
	case Drop:
		return 3
	}
	return 0
}
