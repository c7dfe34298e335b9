package policy

import (
	"math/bits"
	"net/netip"
	"time"
)

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
// out: first those on strangers whose time to redeem themselves ended before
// it, then that on the source for what it did itself, then that on its
// neighbourhood, then, for a rule per user, the decision on the user and those
// on the user's sources, in the order in which they came. An event without a
// source that can be flagged, of an unknown kind, or without a sensible time
// changes nothing.
func (e *Engine) Observe(ev *Event, out []Decision) []Decision {
	if s := ev.Time.Unix(); s <= 0 || s >= maxUnixSeconds {
		return out
	}
	at := ev.Time.UnixNano()
	e.now = max(e.now, at)
	if e.site.began == 0 {
		e.site.began = at
	}
	if e.probation.len() > 0 {
		out = e.overdue(out)
	}
	if int(ev.Kind) >= len(e.byKind) || !Judged(ev.Source) {
		return out
	}
	plans := &e.byKind[ev.Kind]
	success := ev.User != "" && (ev.Kind == AuthSuccess || ev.Kind == Message)
	mail := ev.Kind == Message && (e.weighs || len(e.byKind[Connection].source) > 0)
	if !success && !mail && len(plans.source) == 0 && len(plans.prefix) == 0 && (len(plans.user) == 0 || ev.User == "") {
		return out
	}
	h := happening{
		observation: observation{
			at:      at,
			line:    ev.Line,
			addr:    ev.Source.As16(),
			kind:    ev.Kind,
			user:    e.names.refer(ev.User),
			service: e.labels.number(ev.Service),
			server:  e.labels.number(ev.Server),

			amount: uint32(min(max(ev.Recipients, 1), maxRecipients)),
		},
		source:   SourceOf(ev.Source),
		password: ev.Password,
		success:  success,
	}
	e.meet(&h)
	if len(plans.source) > 0 || success || mail {
		out = e.observeSource(&h, plans, out)
	} else if n := e.find(h.source, e.key.hash(h.source)); n != 0 {
		h.under = e.sources.at(n).under(h.at)
	}
	if h.user != 0 && (len(plans.user) > 0 || success) {
		out = e.observeUser(&h, plans.user, out)
	}
	e.names.release(h.user)
	return out
}

// meet looks up what is known of the user of h.
func (e *Engine) meet(h *happening) {
	if h.user == 0 {
		return
	}
	slot := e.names.slots.at(h.user)
	if slot.user != 0 {
		h.subject = e.users.at(slot.user)
		h.known = h.subject.succeeded
		h.own = h.subject.homes.find(h.source) != nil
		h.guarded = h.at < h.subject.until && e.plans[h.subject.guard].rule.userAction() == Guard
	}
	h.face, h.tried = bit(slot.face), h.password^slot.face
}

// observeSource judges a source for what it did itself, and its neighbourhood.
func (e *Engine) observeSource(h *happening, plans *selection, out []Decision) []Decision {
	n, s := e.source(h.source)
	under := s.under(h.at)
	h.under = under
	switch {
	case h.success:
		out = e.succeed(n, s, h, out)
		under = s.under(h.at)
	case h.kind == Message:
		e.accept(s, h.at)
	case h.kind == Connection:
		s.knock(h.at)
	}
	if e.lifted(h.at, s.graceEnd()) {
		return out
	}
	if len(plans.source) == 0 && len(plans.prefix) == 0 || len(plans.prefix) > 0 && severity(e.nets.under(h.source, h.at)) > severity(Limit) {
		return out
	}
	var fired *plan
	for _, p := range plans.source {
		if e.countSource(s, p, h, under) && (fired == nil || severity(p.rule.Action) > severity(fired.rule.Action)) {
			fired = p
		}
	}
	if fired != nil {
		out = append(out, e.flagWindow(n, s, fired))
		if h.kind == UnknownRecipient && fired.rule.Measure == MeasureWeight {
			e.site.harvest.add(e.now, e.site.users, foundHarvester)
		}
	} else if e.weighs && under == 0 {
		e.offend(s, h)
	}
	// Neighbours are counted whatever became of the source itself.
	for _, p := range plans.prefix {
		if !s.familiar.fresh(h.at) && !h.own && !e.neighbourly(h) {
			s.flags |= netted
			out = e.observeNeighbours(p, h, out)
		}
	}
	return out
}

// neighbourly reports whether the user of h has succeeded from the network of
// its source.
func (e *Engine) neighbourly(h *happening) bool {
	return h.subject != nil && h.subject.nets.familiar(h.source, h.at, 0)
}

// countSource counts h for a rule per source and reports whether it fires.
func (e *Engine) countSource(s *sourceState, p *plan, h *happening, under Action) bool {
	r := p.rule
	if under != 0 && severity(r.Action) <= severity(under) ||
		r.Measure == MeasureUsers && h.user == 0 ||
		r.SpareKnown != 0 && s.familiar.since(h.at, r.SpareKnown) && (r.Measure != MeasureWeight || h.own || s.met() >= severalUsers) {
		return false
	}
	o := h.observation
	if r.Measure == MeasureWeight {
		if o.amount, o.marks = e.weigh(s, p, h); o.amount == 0 {
			return r.Pressure && e.waited(s, p, h)
		}
	}
	s.failed |= bit(h.user)
	if o.marks&markRepeat != 0 && o.kind == AuthFailure {
		e.boundDevices(s, p, o.amount)
	}
	need := e.need(r, s.graced(h.at))
	if !r.Pressure {
		return e.add(&e.bySource, &s.tally, p, &o, need)
	}
	// A window that is full waits for the pressure, and takes no more.
	if s.block == 0 || !e.bySource.windows(s.block)[p.window].reached(r, need) {
		e.add(&e.bySource, &s.tally, p, &o, need)
	}
	return e.waited(s, p, h)
}

// severalUsers is how many have to succeed from a source before a rule that
// weighs spares it for what others fail there.
const severalUsers = 3

// waited reports whether a rule under pressure fires for a source that had its
// time to redeem itself.
func (e *Engine) waited(s *sourceState, p *plan, h *happening) bool {
	return s.flags&unredeemed != 0 && s.block != 0 && e.site.learned(h.at) && e.site.pressed(AuthFailure, e.now) &&
		e.bySource.windows(s.block)[p.window].reached(p.rule, e.need(p.rule, s.graced(h.at)))
}

// need returns the threshold of r in the unit of its windows. The operator's
// release makes it four times as high for a while.
func (e *Engine) need(r *Rule, graced bool) uint32 {
	need := uint32(r.Threshold)
	if r.Measure == MeasureWeight {
		need *= point
	}
	if graced {
		need *= 4
	}
	return need
}

// succeed notes the success of a user from a source.
func (e *Engine) succeed(n uint32, s *sourceState, h *happening, out []Decision) []Decision {
	under := s.under(h.at)
	h.foreign = e.weighs && e.site.foreign(h.source, h.at)
	if e.suspect(s, h); h.guess {
		return out
	}
	h.intruder = e.intruder(s, h)
	if under == 0 && !h.intruder {
		fresh := !s.familiar.fresh(h.at)
		s.familiar.learn(h.at)
		if e.weighs {
			if fresh {
				e.nets.praise(s.source, h.at)
				e.sources.classify(n, classTrusted)
			}
		}
	}
	if s.block != 0 {
		e.forgiveSource(s, &h.observation)
	}
	if !e.weighs {
		return out
	}
	e.site.successes++
	if under == 0 && !h.guarded {
		e.site.learn(s.source, h.face, !h.intruder, h.at)
	}
	s.users |= h.face
	s.redeem()
	if h.kind == Message {
		e.accept(s, h.at)
	}
	if under == 0 {
		if s.flags&netted != 0 {
			s.flags &^= netted
			e.nets.pardon(s.source)
		}
		return out
	}
	if s.flags&climbing == 0 {
		return out
	}
	s.flags &^= climbing
	s.until = h.at
	s.offences--
	return append(out, Decision{
		Target: Target{Prefix: s.source.Prefix()}, Action: Release, Since: instant(e.now), Rule: e.rules[s.by].Name,
		Reason:   quoted(e.names.name(h.user)) + " succeeded from " + s.source.String(),
		Evidence: Evidence{Count: 1, FirstLine: h.line, LastLine: h.line, Sample: []Observation{e.testimony(&h.observation)}},
	})
}

// intruder reports whether a success says nothing good of its source: the user
// has long been at home elsewhere, or nobody is known to succeed from that
// network, and hardly anybody else succeeds from there. So a thief's source
// earns no trust by what the password's owner has.
func (e *Engine) intruder(s *sourceState, h *happening) bool {
	return e.weighs && !s.familiar.fresh(h.at) && bits.OnesCount32(s.users&^h.face) < 2 &&
		(h.foreign && h.subject == nil || h.subject != nil &&
			!h.subject.nets.familiar(h.source, h.at, 0) &&
			!h.subject.homes.familiar(h.source, h.at, homeAfter) &&
			(h.foreign || h.subject.homes.settled(h.source, h.at, settledAfter)))
}

// A user is at home somewhere else when it has been so for settledAfter; a
// source that it goes on using for homeAfter is a home as well.
const (
	settledAfter = 3 * time.Hour
	homeAfter    = 12 * time.Hour
)

// accept notes a message that was taken from a source, which shows good faith
// where recipients are unknown, and that its connections are no mere flood.
func (e *Engine) accept(s *sourceState, at int64) {
	s.accepted = min(s.accepted, 1<<16-2) + 1
	s.redeem()
	if s.block != 0 {
		e.forgiveConnections(s, at)
	}
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
func (e *Engine) source(source Source) (n uint32, s *sourceState) {
	hash := e.key.hash(source)
	n = e.find(source, hash)
	if n != 0 {
		return n, e.sources.touch(n)
	}
	if int(e.sources.len()) < e.limits.Sources {
		n = e.sources.add()
	} else {
		n = e.sources.leave()
		s := e.sources.at(n)
		e.closeBlock(&e.bySource, &s.tally)
		e.index.remove(e.key.hash(s.source), n)
		e.sources.clear(n)
	}
	e.index.put(hash, n)
	s = e.sources.at(n)
	s.source, s.number = source, n
	return n, s
}

// forgiveSource takes back what o's user had failed from a source, because
// o is that user's success, and what the source's connections added.
func (e *Engine) forgiveSource(s *sourceState, o *observation) {
	windows := e.bySource.windows(s.block)
	for i := range e.plans {
		if p := &e.plans[i]; p.rule.SuccessForgives && p.rule.Per == PerSource && s.failed&(bit(o.user)|bit(0)) != 0 {
			nameless := p.rule.Measure == MeasureWeight // not all servers tell who failed
			e.takeOut(&e.bySource, &windows[p.window], func(f *observation) bool {
				return (f.user == o.user || nameless && f.user == 0) && f.at <= o.at && f.kind == AuthFailure
			})
		}
	}
	e.forgiveConnections(s, o.at)
}

// forgiveConnections takes back what the connections of a source added.
func (e *Engine) forgiveConnections(s *sourceState, at int64) {
	windows := e.bySource.windows(s.block)
	for _, p := range e.byKind[Connection].source {
		if p.rule.SuccessForgives {
			e.takeOut(&e.bySource, &windows[p.window], func(o *observation) bool { return o.kind == Connection && o.at <= at })
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
	e.closeBlock(&e.bySource, &s.tally)
	s.failed = 0
}
