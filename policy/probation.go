package policy

import "time"

// RedeemWithin is how long a stranger has, after its first offence, to show by
// a success that it only made a mistake.
const RedeemWithin = 30 * time.Minute

// maxWaiting bounds the strangers that are waited for at once. Beyond it the
// one that has waited longest is judged early.
const maxWaiting = 1 << 16

// waiting is a stranger that has offended for the first time.
type waiting struct {
	until  int64
	source Source
}

// probation is the strangers that are waited for, by the time of their coming:
// all wait equally long, so that is the order of their end. A late event waits
// from the engine's time on.
type probation struct {
	queue []waiting
	head  int
}

func (q *probation) len() int { return len(q.queue) - q.head }

func (q *probation) push(w waiting) {
	if q.head > 1024 && q.head > len(q.queue)/2 {
		q.queue = q.queue[:copy(q.queue, q.queue[q.head:])]
		q.head = 0
	}
	q.queue = append(q.queue, w)
}

// pop takes the first out if its time is up.
func (q *probation) pop(now int64) (waiting, bool) {
	if q.head == len(q.queue) || q.queue[q.head].until > now && q.len() <= maxWaiting {
		return waiting{}, false
	}
	w := q.queue[q.head]
	q.head++
	return w, true
}

// offend notes the offence of a source that was not flagged for it.
func (e *Engine) offend(s *sourceState, h *happening) {
	switch h.kind {
	case UnknownRecipient:
		if s.accepted < goodMail {
			e.site.harvest.add(e.now, e.site.users, 1)
		}
	case AuthFailure:
		switch {
		case s.familiar.fresh(h.at):
		case s.flags&unredeemed != 0:
			e.site.failures.add(e.now, e.site.users, 1)
		case s.flags&onProbation == 0:
			s.flags |= onProbation
			e.probation.push(waiting{e.now + int64(RedeemWithin), s.source})
		}
	}
}

// redeem notes that a source has shown good faith.
func (s *sourceState) redeem() { s.flags &^= onProbation | unredeemed }

// overdue judges the strangers whose time is up.
func (e *Engine) overdue(out []Decision) []Decision {
	for {
		w, ok := e.probation.pop(e.now)
		if !ok {
			return out
		}
		n := e.find(w.source, e.key.hash(w.source))
		if n == 0 {
			continue
		}
		s := e.sources.change(n)
		if s.flags&onProbation == 0 {
			continue
		}
		s.flags = s.flags&^onProbation | unredeemed
		e.site.failures.add(e.now, e.site.users, 1)
		if s.block == 0 || s.under(e.now) != 0 || e.nets.under(s.source, e.now) != 0 || !e.site.learned(e.now) || !e.site.pressed(AuthFailure, e.now) {
			continue
		}
		windows := e.bySource.windows(s.block)
		for _, p := range e.byKind[AuthFailure].source {
			if p.rule.Pressure && windows[p.window].reached(p.rule, e.need(p.rule, s.graced(e.now))) {
				out = append(out, e.flagWindow(n, s, p))
				break
			}
		}
	}
}
