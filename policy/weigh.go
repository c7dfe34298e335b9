package policy

import (
	"math/bits"
	"strings"
	"time"
)

// What an event weighs, in hundredths of a point. One failed login of a
// stranger at a user who exists is one point; everything else is in relation
// to that.
const (
	point = 100

	unknownUser    = 250 // a name that nobody ever succeeded by, once the site is known
	pressedKnown   = 200 // the same two while the site is under pressure
	pressedUnknown = 300
	foreignKnown   = 200 // under pressure, from a network that nobody succeeds from
	anotherUser    = 200 // more for each other user that the source has failed for, up to four
	samePassword   = 10  // a device that tries again what was refused
	steadyDevice   = 20  // or that fails as regularly as only a device does
	steadyAtFirst  = 1   // the same before the site is known: an office sleeps at night
	steadyKnock    = 30  // a connection of a monitor
	pressedHarvest = 300 // an unknown recipient while the site is under pressure

	ownFactor    = 10 // times less from a source that the user has succeeded from
	freshFactor  = 4  // times less from a source that somebody has lately succeeded from
	paroleFactor = 4  // times more from a source that was flagged before
)

// marks tell in an observation why it weighs what it does.
const (
	markUnknown  uint8 = 1 << iota // at a user unknown here
	markPressure                   // while the site was under pressure
	markRepeat                     // what the source had tried before
	markForeign                    // from a network that nobody succeeds from
	markParole                     // of a source that was flagged before
)

// Rhythm of a device that fails again and again without anybody's doing.
const (
	steadyLow  = 40 * time.Second
	steadyHigh = 5 * time.Minute
)

// weigh returns what h weighs for a rule per source, and why.
func (e *Engine) weigh(s *sourceState, p *plan, h *happening) (weight uint32, marks uint8) {
	switch h.kind {
	case AuthFailure:
		weight, marks = e.weighFailure(s, p, h)
	case UnknownRecipient:
		weight = point
		if s.accepted == 0 && e.site.pressed(UnknownRecipient, e.now) {
			weight, marks = pressedHarvest, markPressure
		}
		// Whoever brings good mail may err in proportion to it.
		weight = weight * 2 / (2 + uint32(s.accepted))
	case Connection:
		weight = point
		if s.steady >= 3 {
			weight, marks = steadyKnock, markRepeat
		}
	}
	if h.kind != Connection && s.paroled(h.at, p.rule) {
		weight *= paroleFactor
		marks |= markParole
	}
	return max(weight, 1), marks
}

func (e *Engine) weighFailure(s *sourceState, p *plan, h *happening) (weight uint32, marks uint8) {
	learned := e.site.learned(h.at)
	repeat, steady, others := e.history(s, p, h)
	known := h.user == 0 || h.known || !learned
	pressed := !p.rule.Pressure && e.site.pressed(AuthFailure, e.now)
	switch {
	case repeat:
		return samePassword, markRepeat
	case steady && learned:
		return steadyDevice, markRepeat
	case steady:
		return steadyAtFirst, markRepeat
	case known && pressed:
		weight, marks = pressedKnown, markPressure
	case known && p.rule.Pressure && e.site.foreign(h.source, h.at):
		weight, marks = foreignKnown, markForeign
	case known:
		weight = point
	case pressed:
		weight, marks = pressedUnknown, markUnknown|markPressure
	default:
		weight, marks = unknownUser, markUnknown
	}
	weight += anotherUser * min(others, 4)
	switch {
	case h.own:
		weight /= ownFactor
	case s.familiar.fresh(h.at):
		weight /= freshFactor
	}
	return weight, marks
}

// history looks up what the window of p already holds against h's source:
// whether the user has failed there with the same password, whether the user
// fails there in a steady rhythm, and, if the user is new to the window, how
// many others have failed.
func (e *Engine) history(s *sourceState, p *plan, h *happening) (repeat, steady bool, others uint32) {
	if h.password != 0 {
		repeat = s.triedBefore(h.tried)
	}
	if s.block == 0 {
		return repeat, false, 0
	}
	w := &e.bySource.windows(s.block)[p.window]
	var last, before int64
	var users [4]uint32
	again := h.user == 0
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		i = o.next
		switch {
		case o.kind != AuthFailure:
		case o.user == h.user:
			again = true
			before, last = last, o.at
		case !again && others < 4 && o.user != 0:
			fresh := true
			for _, u := range users[:others] {
				fresh = fresh && u != o.user
			}
			if fresh && !e.sameName(o.user, h.user) {
				users[others] = o.user
				others++
			}
		}
	}
	if again {
		others = 0
	}
	return repeat, before != 0 && steadyGaps(last-before, h.at-last), others
}

// steadyGaps reports whether two intervals that follow each other are a
// device's.
func steadyGaps(a, b int64) bool {
	return b >= int64(steadyLow) && b <= int64(steadyHigh) && max(a-b, b-a) <= max(b/10, int64(2*time.Second))
}

// sameName reports whether two names are spellings of one user: one of them is
// the other without its domain. People who set up a telephone try both.
func (e *Engine) sameName(a, b uint32) bool {
	x, y := e.names.name(a), e.names.name(b)
	if len(x) > len(y) {
		x, y = y, x
	}
	return x != "" && len(y) > len(x) && y[len(x)] == '@' && strings.HasPrefix(y, x)
}

// triedBefore reports whether the source has tried a user and password lately,
// and notes that it has.
func (s *sourceState) triedBefore(tried uint32) bool {
	for i, t := range s.tried {
		if t == tried {
			copy(s.tried[1:i+1], s.tried[:i])
			s.tried[0] = tried
			return true
		}
	}
	copy(s.tried[1:], s.tried[:])
	s.tried[0] = tried
	return false
}

// knock notes a connection, and how regular connections are.
func (s *sourceState) knock(at int64) {
	now := uint32(at / int64(time.Millisecond)) // goes round in 49 days
	gap := now - s.knocked
	if d := int64(gap) - int64(s.gap); gap >= 1000 && max(d, -d) <= max(int64(gap/10), 1000) {
		s.steady = min(s.steady, 254) + 1
	} else {
		s.steady = 0
	}
	s.knocked, s.gap = now, gap
}

// guessed reports whether a success of a stranger is one of a guesser: it has
// failed for two other users, or often for this one.
func (e *Engine) guessed(s *sourceState, h *happening) bool {
	if e.guesses == nil || s.block == 0 || s.familiar.fresh(h.at) || h.own {
		return false
	}
	w := &e.bySource.windows(s.block)[e.guesses.window]
	same := 0
	var other uint32
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		i = o.next
		switch {
		case o.kind != AuthFailure || o.user == 0:
		case o.user == h.user || e.sameName(o.user, h.user):
			if o.marks&markRepeat == 0 {
				same++
			}
		case other != 0 && other != o.user:
			return true
		default:
			other = o.user
		}
	}
	return same >= 5
}

// met returns about how many users have succeeded from the source: linear
// counting (Whang et al. 1990) in 32 bits, good up to some fifty.
func (s *sourceState) met() int { return bits.OnesCount32(s.users) }
