package policy

import "time"

// flagWindow puts a source under a decision for what is in its window of p.
func (e *Engine) flagWindow(n uint32, s *sourceState, p *plan) Decision {
	w := &e.bySource.windows(s.block)[p.window]
	d := Decision{Evidence: e.evidence(w)}
	d.Reason = e.sourceReason(p.rule, s.source, w)
	hasty := e.rashly(p, w)
	if s.flags&rash != 0 {
		s.offences = 0
	}
	d = e.flag(n, s, p, 1, d)
	if hasty {
		s.flags |= rash
	}
	return d
}

// rashly reports whether a rule that weighs judges by failures that have no
// names, before the site is known. Three forgotten telephones look like a
// guesser then, and their office, which is not there at night, cannot show that
// it is one for as long as it is shut out. So that such a decision is repeated,
// if it must be, and never grows.
func (e *Engine) rashly(p *plan, w *window) bool {
	if p.rule.Measure != MeasureWeight || !p.counts[AuthFailure] || e.site.learned(e.now) {
		return false
	}
	for i := w.first; i != 0; i = e.seen.at(i).next {
		if o := e.seen.at(i); o.kind != AuthFailure || o.user != 0 {
			return false
		}
	}
	return true
}

// flag puts a source under a decision of p's rule, for a part of its time, one
// in so many, and completes d. What rules
// that are no harsher have counted is used up, and the source is a stranger
// again: it has to earn its familiarity anew.
func (e *Engine) flag(n uint32, s *sourceState, p *plan, part time.Duration, d Decision) Decision {
	r := p.rule
	s.offences = offence(s.offences, s.until, e.now, r)
	s.until = e.now + int64(r.Lasts(int(s.offences))/part)
	s.action = r.actionFor(int(s.offences))
	s.by = uint8(p.number)
	s.familiar = familiarity{}
	s.users, s.blamed = 0, 0
	s.flags &^= onProbation | climbing | rash
	if s.action != r.Action {
		s.flags |= climbing
	}
	e.sources.classify(n, classBad)
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
	d.Action = s.action
	if s.action == Limit {
		d.Rate = r.Rate
	}
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
