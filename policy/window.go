package policy

import (
	"net/netip"
	"time"
)

// observation is one event inside one window.
type observation struct {
	at      int64 // nanoseconds since 1970
	line    uint64
	addr    [16]byte // as netip.Addr.As16 gives it
	next    uint32   // the next younger observation of the window
	user    uint32   // number in the name table
	kind    Kind
	service uint8 // number in the label table
	server  uint8
	marks   uint8 // why it weighs what it does

	amount uint32 // recipients, at least 1; in windows of weight, hundredths of a point
}

func (o *observation) source() Source { return SourceOf(netip.AddrFrom16(o.addr)) }

// window holds the observations of one rule for one source or user, oldest
// first. It is exact: it holds precisely what counts, at most as many
// observations as the rule's threshold, because reaching it empties it.
//
// Time is that of the window itself: what counts is younger than the
// youngest observation less Rule.Within. A late event that still counts is
// put in its place; one that is too late changes nothing. So inputs that lag
// behind each other are judged alike, and order within the time of a window
// does not matter.
type window struct {
	first, last uint32
	length      uint32 // observations
	amount      uint32 // what they add up to
	oldest      int64  // time of first
	newest      int64  // time of last
}

// reached reports whether w holds as much as r asks for; see Engine.need.
func (w *window) reached(r *Rule, need uint32) bool {
	if r.Measure == MeasureRecipients || r.Measure == MeasureWeight {
		return w.amount >= need
	}
	return w.length >= need
}

// side holds the windows of all sources, or of all users, in blocks of one
// window a rule, only for those who have something counted.
type side struct {
	notes *notes     // of the clock whose entries own the blocks
	width int        // windows a block
	taken pool[bool] // numbers the blocks
	cells [][]window // their windows, in chunks of cellSize blocks
	held  int        // observations in all windows
	hand  uint32     // the source or user that makeRoom looked at last
}

const cellSize = 1 << 7

// open returns a new block.
func (s *side) open() uint32 {
	i := s.taken.take()
	if int(i/cellSize) == len(s.cells) {
		s.cells = append(s.cells, make([]window, s.width*cellSize))
	}
	return i
}

// openFor gives t a block.
func (s *side) openFor(t *tally) {
	t.block = s.open()
	*s.notes.at(t.number) |= noteHolds
}

// windows returns the windows of block i.
func (s *side) windows(i uint32) []window {
	from := int(i%cellSize) * s.width
	return s.cells[i/cellSize][from : from+s.width : from+s.width]
}

// add counts o in the window of p and reports whether that window has
// reached what is needed.
func (e *Engine) add(s *side, t *tally, p *plan, o *observation, need uint32) bool {
	if t.block == 0 {
		s.openFor(t)
	}
	*s.notes.at(t.number) |= noteCounted
	w := &s.windows(t.block)[p.window]
	if e.seen.used >= e.limits.Observations {
		e.makeRoom(t, s, w)
	}
	return e.count(s, w, p.rule, o) && w.reached(p.rule, need)
}

// count adds o to window w under rule r. It reports whether o counted.
func (e *Engine) count(s *side, w *window, r *Rule, o *observation) bool {
	within := int64(r.Within)
	if w.last != 0 && o.at <= w.newest-within {
		return false
	}
	if r.Measure.distinct() {
		before, same := e.findSame(w, r.Measure, o)
		if same != 0 {
			if e.seen.at(same).at > o.at {
				return false
			}
			e.unlink(s, w, before, same)
		}
	}
	e.link(s, w, o)
	for w.oldest <= w.newest-within {
		e.unlink(s, w, 0, w.first)
	}
	return true
}

// findSame finds the observation in w of what o is counted as one with, and
// the one before it.
func (e *Engine) findSame(w *window, m Measure, o *observation) (before, same uint32) {
	source := o.source()
	country, _ := e.country(m, o)
	for same = w.first; same != 0; before, same = same, e.seen.at(same).next {
		have := e.seen.at(same)
		switch m {
		case MeasureUsers:
			if have.user == o.user {
				return before, same
			}
		case MeasureSources:
			if have.source() == source {
				return before, same
			}
		case MeasureNetworks:
			if have.source().network() == source.network() {
				return before, same
			}
		case MeasureCountries:
			if c, _ := e.country(m, have); c == country {
				return before, same
			}
		}
	}
	return before, same
}

// country returns the country of o, for rules that count them.
func (e *Engine) country(m Measure, o *observation) (country uint16, ok bool) {
	if m != MeasureCountries || e.locator == nil {
		return 0, false
	}
	return e.locator.Country(netip.AddrFrom16(o.addr).Unmap())
}

// located reports whether it is known in which country o happened.
func (e *Engine) located(o *observation) bool {
	_, ok := e.country(MeasureCountries, o)
	return ok
}

// link puts a copy of o into w in the order of time, after its equals.
func (e *Engine) link(s *side, w *window, o *observation) {
	i := e.seen.take()
	n := e.seen.at(i)
	*n = *o
	e.names.again(o.user)
	s.held++
	w.length++
	w.amount += o.amount
	before := uint32(0)
	if w.last != 0 && w.newest <= o.at {
		before = w.last
	} else {
		for j := w.first; j != 0 && e.seen.at(j).at <= o.at; j = e.seen.at(j).next {
			before = j
		}
	}
	if before == 0 {
		n.next, w.first, w.oldest = w.first, i, o.at
	} else {
		b := e.seen.at(before)
		n.next, b.next = b.next, i
	}
	if n.next == 0 {
		w.last, w.newest = i, o.at
	}
}

// unlink takes observation i, which follows before, out of w.
func (e *Engine) unlink(s *side, w *window, before, i uint32) {
	o := e.seen.at(i)
	if before == 0 {
		w.first = o.next
		if o.next != 0 {
			w.oldest = e.seen.at(o.next).at
		}
	} else {
		e.seen.at(before).next = o.next
	}
	if w.last == i {
		w.last = before
		if before != 0 {
			w.newest = e.seen.at(before).at
		}
	}
	w.length--
	w.amount -= o.amount
	s.held--
	e.names.release(o.user)
	e.seen.give(i)
}

// empty takes everything out of w.
func (e *Engine) empty(s *side, w *window) {
	for w.first != 0 {
		e.unlink(s, w, 0, w.first)
	}
}

// takeOut takes out of w what gone says.
func (e *Engine) takeOut(s *side, w *window, gone func(*observation) bool) {
	before := uint32(0)
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		next := o.next
		if gone(o) {
			e.unlink(s, w, before, i)
		} else {
			before = i
		}
		i = next
	}
}

// closeBlock gives back the block of t with all it holds. No block is fine.
func (e *Engine) closeBlock(s *side, t *tally) {
	if t.block == 0 {
		return
	}
	windows := s.windows(t.block)
	for i := range windows {
		e.empty(s, &windows[i])
	}
	s.taken.give(t.block)
	t.block = 0
	*s.notes.at(t.number) &^= noteHolds
}

// makeRoom sees to it that one more observation may be taken. When memory is
// used up, what was counted for one source or user is given up, on the side
// that holds more, going round all of them. Who has counted since the last
// round stays for one more. An attacker who wants to push out a count needs
// as many counted failures from other sources as the whole memory holds,
// each source staying under every threshold, all between two failures of the
// source that is to be forgotten. keep is for whom it is being counted; if there
// is nobody else, its own window w begins anew.
func (e *Engine) makeRoom(keep *tally, s *side, w *window) {
	for e.seen.used >= e.limits.Observations {
		from := &e.bySource
		if e.byUser.held > e.bySource.held {
			from = &e.byUser
		}
		if !e.giveUp(from, keep.number, s == from) {
			if w.first == 0 {
				windows := s.windows(keep.block)
				for i := range windows {
					e.empty(s, &windows[i])
				}
				return
			}
			e.empty(s, w)
		}
	}
}

// giveUp closes the next block of a side whose owner has not counted for a
// round, and reports false if there is none but keep.
func (e *Engine) giveUp(s *side, keep uint32, same bool) bool {
	if s.taken.used == 0 || same && s.taken.used == 1 {
		return false
	}
	entries := e.sources.len()
	if s == &e.byUser {
		entries = e.users.len()
	}
	for {
		if s.hand++; s.hand > entries {
			s.hand = 1
		}
		n := s.notes.at(s.hand)
		switch {
		case *n&noteHolds == 0 || same && s.hand == keep:
		case *n&noteCounted != 0:
			*n &^= noteCounted
		default:
			e.closeBlock(s, e.tallyOf(s, s.hand))
			return true
		}
	}
}

// tally leads from a source or a user to what is counted for it.
type tally struct {
	block  uint32 // its windows, 0 for none
	number uint32 // of the source or the user
}

// tallyOf returns one that is to be changed.
func (e *Engine) tallyOf(s *side, number uint32) *tally {
	if s == &e.bySource {
		return &e.sources.change(number).tally
	}
	return &e.users.change(number).tally
}

func instant(at int64) time.Time { return time.Unix(0, at).UTC() }
