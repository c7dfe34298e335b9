package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// SetRules replaces the rules. What a rule has counted, and the guards it
// keeps, stay if the new rules hold one with the same definition; familiarity
// and past offences stay in any case. On an error nothing changes.
func (e *Engine) SetRules(rules []Rule) error {
	if err := ValidateRules(rules); err != nil {
		return fmt.Errorf("set rules: %w", err)
	}
	old, oldSource, oldUser := e.plans, e.bySource, e.byUser
	e.plan(rules)
	moves := make([]int, len(old)) // number of the new plan, or -1
	for i := range old {
		moves[i] = slices.IndexFunc(e.plans, func(p plan) bool { return p.rule.definition() == old[i].rule.definition() })
	}
	moveSide(e, PerSource, &oldSource, old, moves, func(n, block uint32) { e.sources.value(n).block = block })
	moveSide(e, PerUser, &oldUser, old, moves, func(n, block uint32) { e.users.value(n).block = block })
	for n := e.users.order.newest; n != 0; n = e.users.order.links[n].older {
		if u := e.users.value(n); u.until != 0 {
			if to := moves[u.guard]; to >= 0 {
				u.guard = uint8(to)
			} else {
				u.guard, u.until = 0, min(u.until, e.now)
			}
		}
	}
	return nil
}

// moveSide moves every block of a side into the new one, in the order of
// their last counting, and empties the windows of rules that are gone.
func moveSide(e *Engine, per Per, from *side, old []plan, moves []int, moved func(number, block uint32)) {
	to := &e.bySource
	if per == PerUser {
		to = &e.byUser
	}
	for b := from.order.oldest; b != 0; b = from.order.links[b].newer {
		windows := from.windows(b)
		number := uint32(*from.owners.at(b))
		block := uint32(0)
		for i := range old {
			if old[i].rule.Per != per {
				continue
			}
			w := &windows[old[i].window]
			if moves[i] < 0 || w.first == 0 {
				e.empty(from, w)
				continue
			}
			if block == 0 {
				block = to.open(number)
			}
			to.windows(block)[e.plans[moves[i]].window] = *w
			to.held += int(w.length)
		}
		moved(number, block)
	}
}

// Release forgets what counts against a target, past offences included: the
// operator has lifted the decision, and the next one is the first again. A
// prefix releases every source in it.
func (e *Engine) Release(t Target) {
	if t.User != "" {
		if n := e.users.index[e.names.index[t.User]]; n != 0 {
			u := e.users.value(n)
			if u.block != 0 {
				e.closeUserBlock(u.block)
			}
			u.until, u.offences, u.guard = 0, 0, 0
		}
		return
	}
	p := JudgedPrefix(t.Prefix)
	if !p.IsValid() {
		return
	}
	if single(p) {
		e.releaseSource(e.sources.index[SourceOf(p.Addr())])
		return
	}
	for n := e.sources.order.newest; n != 0; n = e.sources.order.links[n].older {
		if p.Contains(e.sources.key(n).Prefix().Addr()) {
			e.releaseSource(n)
		}
	}
}

func (e *Engine) releaseSource(n uint32) {
	if n == 0 {
		return
	}
	s := e.sources.value(n)
	if s.block != 0 {
		e.closeSourceBlock(s.block)
	}
	s.until, s.offences, s.action = 0, 0, 0
}

// single reports whether p, in judged form, is one source.
func single(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() == 32
	}
	return p.Bits() == SourceBits6
}
