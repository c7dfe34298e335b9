package policy

import (
	"math/bits"
	"slices"
	"strings"
	"time"
)

// What an event weighs, in hundredths of a point. One failed login of a
// stranger at a user who exists is one point; everything else is in relation
// to that.
const (
	point = 100

	unknownUser    = 150 // a name that nobody ever succeeded by, once the site is known
	foreignUnknown = 250 // the same from a network that nobody succeeds from
	pressedKnown   = 200 // a user who exists, from such a network, while the site is under pressure
	pressedUnknown = 300 // and one who does not
	anotherUser    = 100 // more for each other user that the source has failed for, up to four
	foreignAnother = 200 // the same from such a network
	guardedUser    = 500 // a user that is guarded, by a stranger
	samePassword   = 10  // a device that tries again what was refused
	steadyDevice   = 20  // or that fails as regularly as only a device does
	steadyKnown    = 5   // the same from a network that somebody succeeds from
	steadyLocal    = 3   // or many
	steadyPhone    = 1   // the same every few minutes: an office sleeps at night
	steadyKnock    = 30  // a connection of a monitor
	pressedHarvest = 400 // an unknown recipient while the site is under pressure
	listedSource   = 300 // a DNS list names it; homes with dynamic addresses are on such, too

	// Of a first offence, for rules under pressure.
	offenceKnown          = 60  // at a user who exists
	offenceUnknown        = 80  // at one who does not
	offenceForeign        = 200 // the same two from a network of which hardly any users are
	offenceUnknownForeign = 250

	mostOfDevices = 4 * point // all that fails again and again from one source, together

	ownFactor    = 10 // times less from a source that the user has succeeded from
	freshFactor  = 4  // times less from a source that two have lately succeeded from
	paroleFactor = 4  // times more from a source that was flagged before
)

// marks tell in an observation why it weighs what it does.
const (
	markUnknown  uint8 = 1 << iota // at a user unknown here
	markPressure                   // while the site was under pressure
	markRepeat                     // what the source had tried before
	markForeign                    // from a network that hardly anybody succeeds from
	markParole                     // of a source that was flagged before
	markGuarded                    // at a user under guard
)

// weigh returns what h weighs for a rule per source, and why. What weighs
// nothing does not count.
func (e *Engine) weigh(s *sourceState, p *plan, h *happening) (weight uint32, marks uint8) {
	switch h.kind {
	case AuthFailure:
		weight, marks = e.weighFailure(s, p, h)
	case UnknownRecipient:
		weight = point
		if s.accepted < goodMail && e.site.pressed(UnknownRecipient, e.now) {
			weight, marks = pressedHarvest, markPressure
		}
		// Whoever brings good mail may err in proportion to it.
		weight = max(weight*2/(2+uint32(s.accepted)), 1)
	case Listed:
		return listedSource, 0
	case Connection:
		weight = point
		if s.steady >= 3 {
			weight, marks = steadyKnock, markRepeat
		}
	}
	if h.kind != Connection && !p.rule.Pressure && s.paroled(h.at, p.rule) {
		weight *= paroleFactor
		marks |= markParole
	}
	return weight, marks
}

// goodMail is how many messages a source must have brought before it is one
// that brings mail.
const goodMail = 4

func (e *Engine) weighFailure(s *sourceState, p *plan, h *happening) (weight uint32, marks uint8) {
	past := e.history(s, p, h)
	foreign := e.site.foreign(h.source, h.at) && !s.hosts(h.at)
	unknown := h.user != 0 && !h.known && e.site.learned(h.at)
	if p.rule.Pressure {
		weight, marks = weighOffence(past, unknown, foreign || e.site.few(h.source, h.at) && !s.hosts(h.at))
	} else {
		weight, marks = e.weighGuess(s, p, h, past, unknown, foreign)
	}
	switch {
	case h.own || e.neighbourly(h) || e.household(s, h, &past):
		weight = (weight + ownFactor - 1) / ownFactor
	case s.hosts(h.at):
		weight = (weight + freshFactor - 1) / freshFactor
	}
	return weight, marks
}

// hosts reports whether two users at least have lately succeeded from the source.
// Then its network does not make it a stranger, even if nobody else comes from
// there; a guesser may have one account to succeed with.
func (s *sourceState) hosts(at int64) bool { return s.familiar.fresh(at) && s.met() >= 2 }

// householdFor is how long it takes at most until all devices of a household
// know a new password.
const householdFor = time.Hour

// household reports whether a failure may be of a household whose password has
// been changed: for an hour its devices fail again and again for one user who is
// known here, or from where somebody has lately succeeded, and it is in a
// network that many of the site's people use. IPv4 and IPv6 of a provider are
// two networks, so the user need not be known in this one.
func (e *Engine) household(s *sourceState, h *happening, past *history) bool {
	if past.first != 0 && h.at-past.first > int64(householdFor) {
		return false
	}
	return e.site.popular(h.source) && (h.known && past.again && past.alone || s.familiar.fresh(h.at))
}

// weighOffence weighs a failure as the first offence of a stranger.
func weighOffence(past history, unknown, foreign bool) (weight uint32, marks uint8) {
	switch {
	case past.again:
		return 0, 0
	case unknown && foreign:
		return offenceUnknownForeign, markUnknown | markForeign
	case foreign:
		return offenceForeign, markForeign
	case unknown:
		return offenceUnknown, markUnknown
	}
	return offenceKnown, 0
}

// weighGuess weighs a failure as one of many guesses.
func (e *Engine) weighGuess(s *sourceState, p *plan, h *happening, past history, unknown, foreign bool) (weight uint32, marks uint8) {
	if past.tried {
		return samePassword, markRepeat
	}
	home := s.familiar.fresh(h.at) || e.site.popular(h.source)
	old := (past.row >= oldDevice || s.familiar.fresh(h.at)) && h.at-e.site.began < int64(day)
	if past.every != 0 && (!foreign && (!unknown || home) || old) {
		weight = steadyDevice
		switch {
		case past.every <= int64(steadyHigh):
			weight = steadyPhone
		case e.site.popular(h.source):
			weight = steadyLocal
		case e.site.learned(h.at):
			weight = steadyKnown
		}
		e.reweigh(s, h.user, weight)
		return weight, markRepeat
	}
	pressed := e.site.pressed(AuthFailure, e.now)
	switch {
	case unknown && foreign && pressed:
		weight, marks = pressedUnknown, markUnknown|markForeign|markPressure
	case unknown && foreign:
		weight, marks = foreignUnknown, markUnknown|markForeign
	case unknown:
		weight, marks = unknownUser, markUnknown
	case h.guarded && foreign:
		weight, marks = guardedUser, markGuarded
	case foreign && pressed:
		weight, marks = pressedKnown, markForeign|markPressure
	default:
		weight = point
	}
	if foreign {
		return weight + foreignAnother*min(past.others, 4), marks
	}
	return weight + anotherUser*min(past.others, 4), marks
}

// reweigh gives what a user has failed the weight of a device, in all windows of
// weight, once it is known to be one.
func (e *Engine) reweigh(s *sourceState, user, weight uint32) {
	if s.block == 0 {
		return
	}
	windows := e.bySource.windows(s.block)
	for _, p := range e.byKind[AuthFailure].source {
		if p.rule.Measure != MeasureWeight {
			continue
		}
		w := &windows[p.window]
		for i := w.first; i != 0; {
			o := e.seen.at(i)
			if o.user == user && o.kind == AuthFailure && o.amount > weight {
				w.amount -= o.amount - weight
				o.amount = weight
				o.marks |= markRepeat
			}
			i = o.next
		}
	}
}

// boundDevices makes room in a window of weight for one more failure of a
// device: its oldest failures go, so that all of its source's together stay
// below mostOfDevices. Whoever does the same again and again has said
// everything by the first few times.
func (e *Engine) boundDevices(s *sourceState, p *plan, weight uint32) {
	if s.block == 0 {
		return
	}
	w := &e.bySource.windows(s.block)[p.window]
	sum := weight
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		if o.kind == AuthFailure && o.marks&markRepeat != 0 {
			sum += o.amount
		}
		i = o.next
	}
	if sum <= mostOfDevices {
		return
	}
	e.takeOut(&e.bySource, w, func(o *observation) bool {
		if sum <= mostOfDevices || o.kind != AuthFailure || o.marks&markRepeat == 0 {
			return false
		}
		sum -= o.amount
		return true
	})
}

// history is what a window already holds against the source of a failure.
type history struct {
	tried  bool   // the same user with the same password
	again  bool   // the same user
	every  int64  // the interval at which the user fails steadily, 0 if it does not
	others uint32 // how many others have failed, if the user is new there and the site is not young
	row    int    // how many of its latest failures keep to that
	alone  bool   // no other has
	first  int64  // the time of the oldest failure, 0 if there is none
}

// oldDevice is how many failures in a row must have kept their rhythm for a
// device to stay one when the site is known and nobody is known to succeed from
// its network, if nobody has succeeded from its source either. It does for as
// long as the site has not been seen for a whole day: offices sleep at night.
const oldDevice = 12

func (e *Engine) history(s *sourceState, p *plan, h *happening) (past history) {
	if h.password != 0 {
		past.tried = s.triedBefore(h.tried, p == e.guesses)
	}
	if s.block == 0 {
		return past
	}
	w := &e.bySource.windows(s.block)[p.window]
	var times beats // of the user
	var users [4]uint32
	past.again = h.user == 0 && w.first != 0
	if w.first != 0 {
		past.first = e.seen.at(w.first).at
	}
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		i = o.next
		switch {
		case o.kind != AuthFailure:
		case o.user == h.user || e.sameName(o.user, h.user):
			past.again = true
			times.note(o.at)
		case past.others < 4 && o.user != 0 && o.marks&markRepeat == 0 && !slices.Contains(users[:past.others], o.user):
			users[past.others] = o.user
			past.others++
		}
	}
	past.alone = past.others == 0
	if past.again || e.site.young(h.at) {
		past.others = 0
	}
	times.note(h.at)
	past.every, past.row = times.every(h.user == 0)
	return past
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

// triedBefore reports whether the source has tried a user and password lately.
// If note is set, it notes that it has.
func (s *sourceState) triedBefore(tried uint32, note bool) bool {
	i := slices.Index(s.tried[:], tried)
	if note {
		last := i
		if last < 0 {
			last = len(s.tried) - 1
		}
		copy(s.tried[1:last+1], s.tried[:last])
		s.tried[0] = tried
	}
	return i >= 0
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

// A person may mistype so often before it looks like guessing. From a network
// that nobody succeeds from, fewer leave a doubt.
const (
	manyGuesses = 7
	someGuesses = 3
)

// suspect looks whether a success of a stranger is one of a guesser: the source
// has failed for two other users, or often for this one.
func (e *Engine) suspect(s *sourceState, h *happening) {
	if e.guesses == nil || s.block == 0 || s.familiar.fresh(h.at) || h.own {
		return
	}
	w := &e.bySource.windows(s.block)[e.guesses.window]
	same, nameless := 0, 0
	var other uint32
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		i = o.next
		switch {
		case o.kind != AuthFailure:
		case o.user == 0:
			nameless++
		case o.user == h.user || e.sameName(o.user, h.user):
			if o.marks&markRepeat == 0 {
				same++
			}
		case o.marks&markRepeat != 0, e.site.young(h.at): // a forgotten device guesses nothing, and nor need an office
		case other != 0 && other != o.user:
			h.guess = true
		default:
			other = o.user
		}
	}
	h.guess = h.guess || same >= manyGuesses && (h.foreign || !e.site.learned(h.at)) || same+nameless >= manyGuesses && h.foreign
	h.doubtful = h.guess || same >= someGuesses && h.foreign
}

// met returns about how many users have succeeded from the source: linear
// counting (Whang et al. 1990) in 32 bits, good up to some fifty.
func (s *sourceState) met() int { return bits.OnesCount32(s.users) }
