package policy

// userState is what is known of a user beside its windows.
type userState struct {
	homes homes
	until int64  // end of the latest guard, 0 for none
	name  uint32 // number in the name table
	tally
	offences uint16
	guard    uint8 // number of the rule that guards, from 0; only while guarded
}

// observeUser judges the sources of a user for what they did in its name.
func (e *Engine) observeUser(source Source, plans []*plan, o *observation, success bool, out []Decision) []Decision {
	u := e.user(o.user)
	if o.at < u.until {
		return e.observeGuarded(u, source, o, success, out)
	}
	var fired *plan
	for _, p := range plans {
		if p.rule.SpareKnown != 0 && u.homes.familiar(source, o.at, p.rule.SpareKnown) {
			continue
		}
		if e.add(&e.byUser, &u.tally, p, o) && fired == nil {
			fired = p
		}
	}
	if success {
		u.homes.learn(source, o.at)
	}
	if fired != nil {
		out = e.guard(u, fired, out)
	}
	return out
}

// observeGuarded judges one more source of a user that is guarded.
func (e *Engine) observeGuarded(u *userState, source Source, o *observation, success bool, out []Decision) []Decision {
	p := &e.plans[u.guard]
	if success {
		u.homes.refresh(source, o.at)
	}
	if !p.counts[o.kind] || p.rule.SpareKnown != 0 && u.homes.familiar(source, o.at, p.rule.SpareKnown) {
		return out
	}
	if s := e.source(source); severity(s.under(o.at)) < severity(p.rule.Action) {
		u.homes.forget(source)
		out = append(out, e.flag(s, p.rule, Decision{
			Reason:   furtherReason(o.kind, e.names.name(o.user), u.until),
			Evidence: Evidence{Count: 1, FirstLine: o.line, LastLine: o.line, Sample: []Observation{e.testimony(o)}},
		}))
	}
	return out
}

// guard puts a user under guard and judges the sources that brought it there.
func (e *Engine) guard(u *userState, p *plan, out []Decision) []Decision {
	r := p.rule
	w := &e.byUser.windows(u.block)[p.window]
	u.offences = offence(u.offences, u.until, e.now, r)
	u.until = e.now + int64(r.Lasts(int(u.offences)))
	u.guard = uint8(p.number)

	who := e.names.name(u.name)
	numbers := e.userReason(r, w)
	out = append(out, Decision{
		Target:   Target{User: who},
		Action:   Guard,
		Since:    instant(e.now),
		Until:    instant(u.until),
		Rule:     r.Name,
		Offence:  int(u.offences),
		Reason:   numbers + " for " + quoted(who),
		Evidence: e.evidence(w),
	})
	culprits, parts := e.bySources(w)
	for _, s := range culprits {
		if r.SpareKnown != 0 && u.homes.familiar(s, e.now, r.SpareKnown) {
			continue
		}
		state := e.source(s)
		if severity(state.under(e.now)) >= severity(r.Action) {
			continue
		}
		u.homes.forget(s)
		out = append(out, e.flag(state, r, Decision{
			Reason:   "acted for " + quoted(who) + ", who reached " + numbers,
			Evidence: e.evidenceOf(parts[s]),
		}))
	}
	e.closeBlock(&e.byUser, &u.block)
	return out
}

// user returns the state of the user with that name, entering it if it is
// new.
func (e *Engine) user(name uint32) *userState {
	entry := e.names.slots.at(name)
	if entry.user != 0 {
		return e.users.touch(entry.user)
	}
	if int(e.users.len()) < e.limits.Users {
		entry.user = e.users.add()
	} else {
		entry.user = e.users.leave()
		old := e.users.at(entry.user)
		e.closeBlock(&e.byUser, &old.block)
		e.names.slots.at(old.name).user = 0
		e.names.release(old.name)
		e.users.clear(entry.user)
	}
	e.names.again(name)
	u := e.users.at(entry.user)
	u.name = name
	return u
}
