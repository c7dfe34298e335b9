package policy

import (
	"net/netip"
	"time"
)

// Regard is how an engine regards a login before it is tried.
type Regard struct {
	Home      bool    // the user has succeeded from the source, as long as a guard asks for
	Trusted   bool    // the source has succeeded for so long that a rule spares it
	Suspicion float64 // 0 to 1: how near the source is to a decision
}

// trustAfter is how long a source must have succeeded to be trusted where no
// rule says (SpareKnown).
const trustAfter = 30 * time.Minute

// Regard tells how a login at a time is regarded: from an address, and for a
// user, empty if unknown. It changes nothing.
func (e *Engine) Regard(addr netip.Addr, user string, at time.Time) (r Regard) {
	now := max(e.now, at.UnixNano())
	source := SourceOf(addr)
	if n := e.find(source, e.key.hash(source)); n != 0 {
		s := e.sources.at(n)
		r.Trusted = s.familiar.since(now, e.spares(PerSource))
		r.Suspicion = e.suspicion(s, now)
	}
	if user == "" {
		return r
	}
	if u := e.userNamed(user); u != nil {
		r.Home = e.atHome(u, source, now)
		r.Trusted = r.Trusted || r.Home
	}
	return r
}

// atHome reports whether a source is a user's own: while the user is guarded,
// one that the guard spares.
func (e *Engine) atHome(u *userState, source Source, now int64) bool {
	if now >= u.until || e.plans[u.guard].rule.userAction() != Guard {
		return u.homes.familiar(source, now, e.spares(PerUser))
	}
	known := u.homes.find(source)
	r := e.plans[u.guard].rule
	return e.isOwn(u, source, now, r) || r.SpareNeighbours && known != nil && known.fresh(now)
}

// spares returns the shortest time of successes after which a rule spares.
func (e *Engine) spares(per Per) time.Duration {
	shortest := time.Duration(0)
	for i := range e.rules {
		if r := &e.rules[i]; r.Per == per && r.SpareKnown > 0 && (shortest == 0 || r.SpareKnown < shortest) {
			shortest = r.SpareKnown
		}
	}
	if shortest == 0 {
		return trustAfter
	}
	return shortest
}

// suspicion is how much of what a rule asks for the source has reached, of the
// rule that it is nearest to. A single observation is none.
func (e *Engine) suspicion(s *sourceState, now int64) (most float64) {
	if s.block == 0 {
		return 0
	}
	windows := e.bySource.windows(s.block)
	for i := range e.plans {
		p := &e.plans[i]
		if p.rule.Per != PerSource || p.rule.Pressure {
			continue
		}
		w := &windows[p.window]
		if w.length < 2 || now-w.newest >= int64(p.rule.Within) {
			continue
		}
		reached := w.length
		if p.rule.Measure == MeasureRecipients || p.rule.Measure == MeasureWeight {
			reached = w.amount
		}
		most = max(most, float64(reached)/float64(e.need(p.rule, s.graced(now))))
	}
	return min(most, 1)
}
