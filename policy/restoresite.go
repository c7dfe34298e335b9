package policy

import "math"

func (r *snapshotReader) nets() {
	t := &r.engine.nets
	n := r.count(30)
	hand := uint32(r.number(uint64(n)))
	excess := n - t.limit
	if excess <= 0 {
		t.nets.hand = hand
	}
	for range n {
		if r.bad != "" {
			return
		}
		used, _, _, class := r.flags()
		one := net{source: r.source()}
		for i := range one.ring {
			one.ring[i] = seed{at: r.time(), host: uint16(r.number(1<<16 - 1))}
			if !r.before {
				one.ring[i].line, one.ring[i].kind = uint32(r.number(1<<32-1)), Kind(r.number(uint64(len(kindNames)-1)))
			}
		}
		one.good = uint16(r.number(1<<16 - 1))
		one.held = uint16(r.number(1<<16 - 1))
		one.until, one.praise = r.time(), r.time()
		one.offences = uint16(r.number(1<<16 - 1))
		one.action = Action(r.number(uint64(len(actionNames) - 1)))
		if !r.before {
			one.parts = parts(r.number(1<<31 - 1))
		}
		if !one.source.IsValid() || one.source != one.source.neighbourhood() || t.find(one.source) != 0 {
			r.fail("it has a neighbourhood twice, or one that is none")
			return
		}
		if int(t.nets.len()) >= t.limit || excess > 0 && class == classNew {
			excess--
			continue
		}
		i := t.nets.add()
		*t.nets.at(i) = one
		t.nets.enter(i, class, r.notes(used, false, &tally{}))
		t.index.put(t.key.hash(one.source), i)
	}
}

func (r *snapshotReader) site() {
	s := &r.engine.site
	s.began = r.time()
	s.successes = r.number(1<<64 - 1)
	pressures := []*pressure{&s.failures, &s.harvest, &s.mail}
	if r.before {
		pressures = pressures[:2]
	}
	for _, p := range pressures {
		p.last = r.time()
		p.fast, p.slow = r.rate(), r.rate()
	}
	for range r.number(maxNetworks) {
		if r.bad != "" {
			return
		}
		*s.networks.enter(r.source()) = locals{r.time(), uint32(r.number(1<<32 - 1)), r.familiarity()}
	}
	for range r.number(maxWaiting + 1) {
		if r.bad != "" {
			return
		}
		r.engine.probation.push(waiting{r.time(), r.source()})
	}
}

// rate reads one that is finite and not negative.
func (r *snapshotReader) rate() float64 {
	f := math.Float64frombits(r.number(1<<64 - 1))
	if !(f >= 0 && f < 1e12) {
		r.fail("a rate in it is out of range")
		return 0
	}
	return f
}
