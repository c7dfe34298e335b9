package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// SetRules replaces the rules. What a rule has counted, and the guards it
// keeps, stay if the new rules hold one with the same definition; familiarity
// and past offences stay in any case. A Saver is finished first. On an error
// nothing changes.
func (e *Engine) SetRules(rules []Rule) error {
	if err := ValidateRules(rules); err != nil {
		return fmt.Errorf("set rules: %w", err)
	}
	if e.saver != nil {
		e.saver.finish()
	}
	old, oldSource, oldUser := e.plans, e.bySource, e.byUser
	e.plan(rules)
	moves := make([]int, len(old)) // number of the new plan, or -1
	for i := range old {
		moves[i] = slices.IndexFunc(e.plans, func(p plan) bool { return p.rule.definition() == old[i].rule.definition() })
	}
	for n := uint32(1); n <= e.sources.len(); n++ {
		s := e.sources.at(n)
		e.move(&e.bySource, &oldSource, &s.tally, old, moves, PerSource)
		if to := -1; s.flags&climbing != 0 {
			if int(s.by) < len(moves) {
				to = moves[s.by]
			}
			if to < 0 {
				s.flags &^= climbing
			}
			s.by = uint8(max(to, 0))
		}
	}
	for n := uint32(1); n <= e.users.len(); n++ {
		u := e.users.at(n)
		e.move(&e.byUser, &oldUser, &u.tally, old, moves, PerUser)
		if u.until == 0 {
			continue
		}
		if to := moves[u.guard]; to >= 0 {
			u.guard = uint8(to)
		} else {
			u.guard, u.until = 0, min(u.until, e.now)
		}
	}
	e.bySource.hand, e.byUser.hand = oldSource.hand, oldUser.hand
	return nil
}

// move takes the windows of t from one side to the next, and empties those
// of rules that are gone.
func (e *Engine) move(to, from *side, t *tally, old []plan, moves []int, per Per) {
	if t.block == 0 {
		return
	}
	windows := from.windows(t.block)
	t.block = 0
	*to.notes.at(t.number) &^= noteHolds
	for i := range old {
		if old[i].rule.Per != per {
			continue
		}
		w := &windows[old[i].window]
		if moves[i] < 0 || w.first == 0 {
			e.empty(from, w)
			continue
		}
		if t.block == 0 {
			to.openFor(t)
		}
		to.windows(t.block)[e.plans[moves[i]].window] = *w
		to.held += int(w.length)
	}
}

// Release forgets what counts against a target, past offences included: the
// operator has lifted the decision, and the next one is the first again. For
// Limits.Grace every rule then needs four times as much against it. A prefix
// releases every source in it.
//
// What happened before at does not count any more either: the engine's own time
// may be behind, where a log is being read again.
func (e *Engine) Release(t Target, at time.Time) {
	grace := max(e.now, at.UnixNano()) + int64(e.limits.Grace)
	if t.User != "" {
		name := e.names.refer(t.User)
		number, u := e.user(name)
		e.names.release(name)
		e.users.change(number)
		e.closeBlock(&e.byUser, &u.tally)
		u.until, u.offences, u.guard, u.doubt, u.grace = 0, 0, 0, 0, grace
		return
	}
	p := JudgedPrefix(t.Prefix)
	if !p.IsValid() {
		return
	}
	e.nets.release(p)
	if single(p) {
		_, s := e.source(SourceOf(p.Addr()))
		e.releaseSource(s, grace)
		return
	}
	for n := uint32(1); n <= e.sources.len(); n++ {
		if s := e.sources.at(n); p.Contains(s.source.Prefix().Addr()) {
			e.releaseSource(e.sources.change(n), grace)
		}
	}
}

// userNamed returns the state of a user, nil if there is none.
func (e *Engine) userNamed(name string) *userState {
	i, _ := e.names.find(bounded(name))
	if i == 0 || e.names.slots.at(i).user == 0 {
		return nil
	}
	return e.users.at(e.names.slots.at(i).user)
}

func (e *Engine) releaseSource(s *sourceState, grace int64) {
	e.closeBlock(&e.bySource, &s.tally)
	s.until, s.offences, s.action, s.failed, s.flags = 0, 0, 0, 0, 0
	s.grace = uint32(grace / int64(time.Second))
}

// lifted reports whether what happened at that time was lifted by the operator's
// release, whose grace ends then.
func (e *Engine) lifted(at, grace int64) bool { return at < grace-int64(e.limits.Grace) }

// single reports whether p, in judged form, is one source.
func single(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() == 32
	}
	return p.Bits() == SourceBits6
}
