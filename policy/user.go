package policy

// userState is what is known of a user beside its windows.
type userState struct {
	homes    homes
	until    int64  // end of the latest guard, 0 for none
	block    uint32 // its windows, 0 for none
	offences uint16
	guard    uint8 // number of the rule that guards, from 0; only while guarded
}

// observeUser judges the sources of a user for what they did in its name.
func (e *Engine) observeUser(source Source, plans []*plan, o *observation, success bool, out []Decision) []Decision {
	n := e.user(o.user)
	u := e.users.value(n)
	if o.at < u.until {
		return e.observeGuarded(u, source, o, success, out)
	}
	var fired *plan
	for _, p := range plans {
		if p.rule.SpareKnown != 0 && u.homes.familiar(source, o.at, p.rule.SpareKnown) {
			continue
		}
		if u.block == 0 {
			u.block = e.byUser.open(n)
		}
		if e.add(&e.byUser, u.block, p, o) && fired == nil {
			fired = p
		}
	}
	if success {
		u.homes.learn(source, o.at)
	}
	if fired != nil {
		out = e.guard(u, fired, o.user, out)
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
	evidence := Evidence{Count: 1, FirstLine: o.line, LastLine: o.line, Sample: []Observation{e.testimony(o)}}
	reason := furtherReason(o.kind, e.names.name(o.user), u.until)
	return e.flagFor(u, source, p.rule, o.at, Decision{Evidence: evidence, Reason: reason}, out)
}

// guard puts a user under guard and judges the sources that brought it there.
func (e *Engine) guard(u *userState, p *plan, user uint32, out []Decision) []Decision {
	r := p.rule
	w := &e.byUser.windows(u.block)[p.window]
	u.offences = offence(u.offences, u.until, e.now, r)
	u.until = e.now + int64(r.Lasts(int(u.offences)))
	u.guard = uint8(p.number)

	who := e.names.name(user)
	numbers := e.userReason(r, w)
	out = append(out, Decision{
		Target:   Target{User: who},
		Action:   Guard,
		Since:    instant(e.now),
		Until:    instant(u.until),
		Rule:     r.Name,
		Offence:  int(u.offences),
		Reason:   numbers + " for " + quoted(who) + ruleReason(r, int(u.offences)),
		Evidence: e.evidence(w),
	})
	culprits, parts := e.bySources(w)
	for _, s := range culprits {
		if r.SpareKnown != 0 && u.homes.familiar(s, e.now, r.SpareKnown) {
			continue
		}
		out = e.flagFor(u, s, r, e.now, Decision{
			Reason:   "acted for " + quoted(who) + ", who reached " + numbers,
			Evidence: e.evidenceOf(parts[s]),
		}, out)
	}
	e.closeBlock(&e.byUser, u.block)
	u.block = 0
	return out
}

// flagFor flags source for what it did in u's name, unless a decision at
// least as harsh stands.
func (e *Engine) flagFor(u *userState, source Source, r *Rule, at int64, d Decision, out []Decision) []Decision {
	n := e.source(source)
	if severity(e.sources.value(n).under(at)) >= severity(r.Action) {
		return out
	}
	u.homes.forget(source)
	return append(out, e.flag(n, r, d))
}

// user returns the number of a user in the table, entering it if it is new.
func (e *Engine) user(name uint32) uint32 {
	if n := e.users.find(name); n != 0 {
		return n
	}
	if e.users.full() {
		e.forgetUser(e.users.order.oldest)
	}
	e.names.again(name)
	return e.users.add(name)
}

func (e *Engine) forgetUser(n uint32) {
	if block := e.users.value(n).block; block != 0 {
		e.closeBlock(&e.byUser, block)
	}
	name := e.users.key(n)
	e.users.remove(n)
	e.names.release(name)
}

// closeUserBlock takes the windows of a user away; the user stays.
func (e *Engine) closeUserBlock(i uint32) {
	e.users.value(uint32(*e.byUser.owners.at(i))).block = 0
	e.closeBlock(&e.byUser, i)
}
