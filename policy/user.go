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
	offences  uint16
	guard     uint8 // number of the rule of that decision, from 0; only while it stands
	succeeded bool  // ever
}

// doubtFor is how long a user whose password seems to have been guessed is
// judged four times as strictly.
const (
	doubtFor    = 24 * time.Hour
	doubtFactor = 4
)

// volume is what a user sends on a day, in recipients, from sources that are
// not strange to it: an exponential average over about a week of days on which
// it sent anything.
type volume struct {
	daily float32
	today uint32
	day   int32 // since 1970, of today
}

func (v *volume) add(at int64, recipients uint32) {
	if day := int32(at / int64(24*time.Hour)); day > v.day {
		if v.daily == 0 {
			v.daily = float32(v.today)
		} else {
			v.daily += (float32(v.today) - v.daily) / 7
		}
		v.today, v.day = 0, day
	}
	v.today += recipients
}

// average returns recipients a day, 0 before the first whole day.
func (v *volume) average() float64 { return float64(v.daily) }

// isOwn reports whether what comes from source is the user's own in the eyes
// of a rule.
func (u *userState) isOwn(source Source, at int64, r *Rule) bool {
	return r.SpareKnown != 0 && (u.homes.familiar(source, at, r.SpareKnown) ||
		r.SpareNeighbours && u.nets.familiar(source, at, max(r.SpareKnown, settledAfter)))
}

// counts reports whether what comes from source counts for a rule.
func (u *userState) counts(source Source, at int64, r *Rule) bool {
	return !u.isOwn(source, at, r) && (r.Settled == 0 || u.homes.settled(source, at, r.Settled))
}

// needOf returns the threshold of a rule for one user.
func (e *Engine) needOf(u *userState, r *Rule, at int64) uint32 {
	need := float64(r.Threshold)
	if r.Settled != 0 && at < u.doubt {
		need = max(need/doubtFactor, 1)
	} else if r.Baseline != 0 {
		need = max(need, min(r.Baseline*u.average(), MaxThreshold))
	}
	if at < u.grace {
		need *= 4
	}
	return uint32(need)
}

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
	var fired *plan
	for _, p := range plans {
		if under != 0 && p.rule.userAction() != Guard || p.rule.Measure == MeasureCountries && e.locator == nil ||
			!u.counts(h.source, h.at, p.rule) {
			continue
		}
		if e.add(&e.byUser, &u.tally, p, &h.observation, e.needOf(u, p.rule, h.at)) && fired == nil {
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
	if h.guess {
		u.doubt = h.at + int64(doubtFor)
		return
	}
	if !u.succeeded {
		u.succeeded = true
		e.site.users++
		e.users.classify(n, classTrusted)
	}
	u.homes.learn(h.source, h.at)
	u.nets.learn(h.source, h.at)
	if h.kind == Message && !u.homes.settled(h.source, h.at, settledAfter) {
		u.volume.add(h.at, h.amount)
	}
	if u.block == 0 {
		return
	}
	windows := e.byUser.windows(u.block)
	for _, p := range e.byKind[AuthFailure].user {
		if p.rule.SuccessForgives {
			e.takeOut(&e.byUser, &windows[p.window], func(o *observation) bool {
				return o.kind == AuthFailure && o.at <= h.at && o.source() == h.source
			})
		}
	}
}

// observeGuarded judges one more source of a user that is guarded.
func (e *Engine) observeGuarded(u *userState, h *happening, out []Decision) []Decision {
	p := &e.plans[u.guard]
	r := p.rule
	own := u.isOwn(h.source, h.at, r)
	if h.success {
		if known := u.homes.find(h.source); known != nil {
			known.learn(h.at)
		}
	}
	login := r.SpareNeighbours && (h.kind == AuthFailure || h.kind == AuthSuccess || h.kind == Message)
	if own || !p.counts[h.kind] && !login {
		return out
	}
	n, s := e.source(h.source)
	if severity(s.under(h.at)) >= severity(r.Action) || e.shared(s, h.at) {
		return out
	}
	u.homes.forget(h.source)
	return append(out, e.flag(n, s, p, Decision{
		Reason:   furtherReason(h.kind, e.names.name(h.user), u.until),
		Evidence: Evidence{Count: 1, FirstLine: h.line, LastLine: h.line, Sample: []Observation{e.testimony(&h.observation)}},
	}))
}

// shared reports whether so many users succeed from a source, and have for a
// while, that it is not flagged for what one of them suffers.
func (e *Engine) shared(s *sourceState, at int64) bool {
	return e.weighs && s.met() >= 3 && s.familiar.since(at, homeAfter)
}

// flagUser puts a user under a decision and judges the sources that brought it
// there.
func (e *Engine) flagUser(u *userState, p *plan, h *happening, out []Decision) []Decision {
	r := p.rule
	w := &e.byUser.windows(u.block)[p.window]
	u.offences = offence(u.offences, u.until, e.now, r)
	u.until = e.now + int64(r.Lasts(int(u.offences)))
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
		Reason:   numbers + " for " + quoted(who) + e.userAside(u, r, h.at),
		Evidence: e.evidence(w),
	}
	if d.Action == Limit {
		d.Rate = r.Rate
	}
	out = append(out, d)
	if r.Action != 0 {
		out = e.flagCulprits(u, p, numbers, out)
	}
	e.closeBlock(&e.byUser, &u.block)
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
			if judged[s] || u.isOwn(s, e.now, r) {
				continue
			}
			judged[s] = true
			n, state := e.source(s)
			if severity(state.under(e.now)) >= severity(r.Action) || e.shared(state, e.now) {
				continue
			}
			u.homes.forget(s)
			u.nets.forget(s, e.now, max(r.SpareKnown, settledAfter))
			out = append(out, e.flag(n, state, p, Decision{
				Reason:   "acted for " + quoted(who) + ", who reached " + numbers,
				Evidence: e.evidenceOf(parts[s]),
			}))
		}
	}
	return out
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
		e.closeBlock(&e.byUser, &old.block)
		e.names.slots.at(old.name).user = 0
		e.names.release(old.name)
		e.users.clear(entry.user)
	}
	e.names.again(name)
	u = e.users.at(entry.user)
	u.name = name
	return entry.user, u
}
