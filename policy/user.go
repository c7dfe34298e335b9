package policy

import "time"

// userState is what is known of a user beside its windows.
type userState struct {
	homes homes
	nets  nets
	until int64  // end of the latest decision on it, 0 for none
	doubt int64  // until then its password is taken for guessed
	grace int64  // until then the operator's release holds
	name  uint32 // number in the name table
	tally
	volume
	country   uint16 // of the latest success, 0 for unknown
	there     int64  // the time of that
	offences  uint16
	guard     uint8 // number of the rule of that decision, from 0; only while it stands
	succeeded bool  // ever
	failed    bool  // failures may be in its windows, which are not looked at else
}

// doubtFor is how long a user whose password seems to have been guessed is
// judged four times as strictly.
const (
	doubtFor    = 24 * time.Hour
	doubtFactor = 4
)

// isOwn reports whether what comes from source is the user's own in the eyes
// of a rule. A rule that asks who is a stranger wants to have seen it for twice as
// long where hardly any of the site's users are: whoever dripped before anybody
// was known would have been there for longer than most.
func (e *Engine) isOwn(u *userState, source Source, at int64, r *Rule) bool {
	span := r.SpareKnown
	if span == 0 {
		return false
	}
	if r.Settled != 0 && e.site.few(source, at) {
		span *= 2
	}
	return u.homes.familiar(source, at, span) || r.SpareNeighbours && u.nets.familiar(source, at, max(span, settledAfter))
}

// counts reports whether what h does counts for a rule. To a user of whom too
// little is known, a source is strange if nobody is known to succeed from its
// network, if hardly anybody is and the user comes from where many do as well, or
// if the user sends more from another that it has had for longer.
func (e *Engine) counts(u *userState, h *happening, r *Rule) bool {
	switch {
	case e.isOwn(u, h.source, h.at, r):
		return false
	case r.Settled == 0:
		return true
	}
	return h.foreign || u.homes.settled(h.source, h.at, r.Settled) || u.elsewhere(h) || e.site.few(h.source, h.at) && e.amongMany(u, h.at)
}

// amongMany reports whether a user succeeds from a network that many do.
func (e *Engine) amongMany(u *userState, at int64) bool {
	for i := range u.nets {
		if n := &u.nets[i]; n.source.IsValid() && n.fresh(at) && e.site.popular(n.source) {
			return true
		}
	}
	return false
}

// elsewhere reports whether the user sends more from another network than that
// of h, and succeeded there well before: a host with IPv4 and IPv6 has two
// networks, and uses now the one, now the other.
func (u *userState) elsewhere(h *happening) bool {
	network := h.source.network()
	if !u.main.IsValid() || u.main == network {
		return false
	}
	first := func(n Source, unknown int64) int64 {
		if known := u.nets.find(n); known != nil && known.fresh(h.at) {
			return known.first
		}
		return unknown
	}
	return first(network, h.at)-first(u.main, 0) >= int64(wellBefore)
}

// wellBefore is how much longer a user must have had a network than another.
const wellBefore = 10 * time.Minute

// needOf returns the threshold of a rule for one user, as h meets it.
func (e *Engine) needOf(u *userState, p *plan, h *happening) uint32 {
	r := p.rule
	need := float64(r.Threshold)
	switch {
	case r.Settled != 0 && h.at < u.doubt:
		need = max(need/doubtFactor, 1)
	case r.Settled != 0 && e.drips(h) && e.bulky(u, p, h):
		need = max(need/dripFactor, 1)
	case r.Baseline != 0:
		if r.Settled != 0 && r.Within >= day && e.site.few(h.source, h.at) && e.bulky(u, p, h) {
			need = max(need/dripFactor, 1) // a day's mailing, and not one invitation
		}
		need = max(need, min(r.Baseline*u.baseline(r), MaxThreshold))
	case r.Action == 0 && !u.succeeded && e.site.learned(h.at):
		need *= namelessFactor
	}
	if h.at < u.grace {
		need *= 4
	}
	return uint32(need)
}

// namelessFactor is how much more it takes to guard a name that nobody has ever
// succeeded by: the guard would spare nobody, so that whoever has it in the end,
// or mistakes it for the own, is shut out.
const namelessFactor = 2

// observeUser judges the sources of a user for what they did in its name.
func (e *Engine) observeUser(h *happening, plans []*plan, out []Decision) []Decision {
	n, u := e.user(h.user)
	h.subject = u
	var under Action
	if h.at < u.until {
		under = e.plans[u.guard].rule.userAction()
	}
	if under == Guard {
		return e.observeGuarded(u, h, out)
	}
	if severity(h.under) >= severity(Drop) {
		return out // it was judged already, and what it still does would be held against the user's others
	}
	u.failed = u.failed || h.kind == AuthFailure
	var fired *plan
	strange := false // by a rule that asks
	for _, p := range plans {
		if under != 0 && p.rule.userAction() != Guard || p.rule.Measure == MeasureCountries && !e.located(&h.observation) ||
			!e.counts(u, h, p.rule) || e.lifted(h.at, u.grace) || p.rule.countsPlaces() && h.success && e.site.popular(h.source) {
			continue
		}
		if p.rule.Settled != 0 && !strange {
			strange = true
			e.site.mail.add(e.now, e.site.users, float64(h.amount))
		}
		if e.add(&e.byUser, &u.tally, p, &h.observation, e.needOf(u, p, h)) && fired == nil {
			fired = p
		}
	}
	if h.success {
		e.welcome(n, u, h)
	}
	if fired != nil {
		out = e.flagUser(u, fired, h, out)
	}
	return out
}

// welcome notes a success of a user that is not guarded.
func (e *Engine) welcome(n uint32, u *userState, h *happening) {
	if h.doubtful || !h.own && !e.site.popular(h.source) && e.besieged(u) {
		u.doubt = max(u.doubt, h.at+int64(doubtFor))
	}
	if h.guess {
		return
	}
	if !u.succeeded {
		u.succeeded = true
		e.site.users++
		e.users.classify(n, classTrusted)
	}
	if e.travelled(u, h) {
		u.doubt = max(u.doubt, h.at+int64(doubtFor))
	}
	u.homes.learn(h.source, h.at)
	u.nets.learn(h.source, h.at)
	if h.kind == Message {
		u.vote(h.source, h.amount)
		if u.homes.familiar(h.source, h.at, homeAfter) {
			u.volume.add(h.at, h.amount)
		}
	}
	e.forgiveUser(u, h)
}

// forgiveUser takes back what a user had failed from the source of its success.
func (e *Engine) forgiveUser(u *userState, h *happening) {
	if u.block == 0 || !u.failed {
		return
	}
	u.failed = false
	windows := e.byUser.windows(u.block)
	for _, p := range e.byKind[AuthFailure].user {
		w := &windows[p.window]
		if p.rule.SuccessForgives {
			e.takeOut(&e.byUser, w, func(o *observation) bool {
				return o.kind == AuthFailure && o.at <= h.at && o.source() == h.source
			})
		}
		u.failed = u.failed || w.first != 0
	}
}

// besieged reports whether several sources have lately failed for a user.
func (e *Engine) besieged(u *userState) bool {
	if u.block == 0 || !u.failed {
		return false
	}
	windows := e.byUser.windows(u.block)
	for _, p := range e.byKind[AuthFailure].user {
		if p.rule.Measure == MeasureSources && windows[p.window].length >= siege {
			return true
		}
	}
	return false
}

const siege = 3

// observeGuarded judges one more source of a user that is guarded.
func (e *Engine) observeGuarded(u *userState, h *happening, out []Decision) []Decision {
	p := &e.plans[u.guard]
	r := p.rule
	own := e.isOwn(u, h.source, h.at, r) || r.SpareNeighbours && h.own
	if h.success {
		if known := u.homes.find(h.source); known != nil {
			known.learn(h.at)
		}
	}
	login := r.SpareNeighbours && p.counts[AuthSuccess] && (h.kind == AuthFailure || h.kind == AuthSuccess || h.kind == Message)
	if own || r.Action == 0 || !p.counts[h.kind] && !login {
		return out
	}
	n, s := e.source(h.source)
	switch {
	case severity(s.under(h.at)) >= severity(r.Action):
		return out
	case !r.SpareNeighbours:
	case s.users&^h.face != 0:
		return out // others succeed there
	case !h.foreign && s.flags&strayed == 0:
		s.flags |= strayed // others may yet
		return out
	}
	u.homes.forget(h.source)
	part := time.Duration(1)
	if r.SpareNeighbours {
		part = strangerPart
	}
	return append(out, e.flag(n, s, p, part, Decision{
		Reason:   furtherReason(h.kind, e.names.name(h.user), u.until),
		Evidence: Evidence{Count: 1, FirstLine: h.line, LastLine: h.line, Sample: []Observation{e.testimony(&h.observation)}},
	}))
}

// strangerPart is the part of a decision's time for which a source is flagged
// that came when the user was already guarded: the guard itself keeps it out,
// and others may come from there.
const strangerPart = 24

// excused blames a source for a user's decision and reports whether it is let
// off, because more users succeed from it than it has been blamed for.
func (s *sourceState) excused() bool {
	s.blamed = min(s.blamed, 254) + 1
	return s.met() >= 2*int(s.blamed)
}

// flagUser puts a user under a decision and judges the sources that brought it
// there.
func (e *Engine) flagUser(u *userState, p *plan, h *happening, out []Decision) []Decision {
	r := p.rule
	w := &e.byUser.windows(u.block)[p.window]
	u.offences = offence(u.offences, u.until, e.now, r)
	u.until = e.now + int64(r.Lasts(int(u.offences)))
	if r.UserFor != 0 {
		u.until = e.now + int64(r.UserFor)
	}
	if r.Settled != 0 {
		u.doubt = max(u.doubt, u.until+int64(doubtFor))
	}
	u.guard = uint8(p.number)

	who := e.names.name(u.name)
	numbers := e.userReason(r, w)
	d := Decision{
		Target:   Target{User: who},
		Action:   r.userAction(),
		Since:    instant(e.now),
		Until:    instant(u.until),
		Rule:     r.Name,
		Offence:  int(u.offences),
		Reason:   numbers + " for " + quoted(who) + e.userAside(u, r, w, h),
		Evidence: e.evidence(w),
	}
	if d.Action == Limit {
		d.Rate = r.Rate
	}
	out = append(out, d)
	if r.Action != 0 {
		out = e.flagCulprits(u, p, numbers, out)
	}
	e.closeBlock(&e.byUser, &u.tally)
	return out
}

// flagCulprits flags the strangers that brought a user under a decision of p:
// those in its window, and those in the windows of other rules that count the
// same kinds of events.
func (e *Engine) flagCulprits(u *userState, p *plan, numbers string, out []Decision) []Decision {
	r := p.rule
	who := e.names.name(u.name)
	windows := e.byUser.windows(u.block)
	judged := make(map[Source]bool)
	for i := -1; i < len(e.plans); i++ {
		by := p
		if i >= 0 {
			by = &e.plans[i]
		}
		if by.rule.Per != PerUser || i == p.number || !by.related(p) {
			continue
		}
		culprits, parts := e.bySources(&windows[by.window])
		for _, s := range culprits {
			if judged[s] || e.isOwn(u, s, e.now, r) {
				continue
			}
			judged[s] = true
			if known := u.homes.find(s); r.SpareNeighbours && r.Measure != MeasureRecipients && known != nil &&
				e.now-known.first >= int64(r.Within) {
				continue // the user had it before all this
			}
			if r.SpareNeighbours && r.Measure == MeasureRecipients && e.amountOf(parts[s])*minorPart < windows[p.window].amount {
				continue
			}
			if r.SpareNeighbours && r.Measure == MeasureRecipients && e.amountOf(parts[s]) < uint32(r.Threshold) &&
				e.site.popular(s) && u.homes.familiar(s, e.now, settledAfter) {
				continue // its home or office, from which the user also sent
			}
			if r.SpareNeighbours && len(culprits) > 1 && u.homes.eldest(s, e.now) {
				continue // and the others came to it
			}
			n, state := e.source(s)
			if severity(state.under(e.now)) >= severity(r.Action) || r.SpareNeighbours && state.excused() {
				continue
			}
			u.homes.forget(s)
			u.nets.forget(s, e.now, max(r.SpareKnown, settledAfter))
			out = append(out, e.flag(n, state, p, 1, Decision{
				Reason:   "acted for " + quoted(who) + ", who reached " + numbers,
				Evidence: e.evidenceOf(parts[s]),
			}))
		}
	}
	return out
}

// minorPart is the part of what a user sent, one in so many, below which a
// source is not to blame for it.
const minorPart = 10

// amountOf adds up observations.
func (e *Engine) amountOf(numbers []uint32) (sum uint32) {
	for _, i := range numbers {
		sum += e.seen.at(i).amount
	}
	return sum
}

// related reports whether two rules count a kind of event in common.
func (p *plan) related(q *plan) bool {
	for k := range p.counts {
		if p.counts[k] && q.counts[k] {
			return true
		}
	}
	return false
}

// user returns the number and the state of the user with that name, entering
// it if it is new.
func (e *Engine) user(name uint32) (n uint32, u *userState) {
	entry := e.names.slots.at(name)
	if entry.user != 0 {
		return entry.user, e.users.touch(entry.user)
	}
	if int(e.users.len()) < e.limits.Users {
		entry.user = e.users.add()
	} else {
		entry.user = e.users.leave()
		old := e.users.at(entry.user)
		if old.succeeded {
			e.site.users--
		}
		e.closeBlock(&e.byUser, &old.tally)
		e.names.slots.at(old.name).user = 0
		e.names.release(old.name)
		e.users.clear(entry.user)
	}
	e.names.again(name)
	u = e.users.at(entry.user)
	u.name, u.number = name, entry.user
	return entry.user, u
}
