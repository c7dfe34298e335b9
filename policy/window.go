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

	recipients uint32 // at least 1
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
	recipients  uint32 // their recipients
}

// reached reports whether w holds as much as r asks for.
func (w *window) reached(r *Rule) bool {
	if r.Measure == MeasureRecipients {
		return w.recipients >= uint32(r.Threshold)
	}
	return w.length >= uint32(r.Threshold)
}

// side holds the windows of all sources, or of all users, in blocks of one
// window a rule, only for those who have something counted.
type side struct {
	width  int         // windows a block
	owners pool[owner] // one a block
	cells  [][]window  // the windows, in chunks as the owners
	order  recency     // blocks by last counting
	held   int         // observations in all windows
}

// owner is the number of a block's source or user in its table.
type owner uint32

// open returns a new block for the source or user of that number.
func (s *side) open(number uint32) uint32 {
	i := s.owners.take()
	*s.owners.at(i) = owner(number)
	if int(i>>chunkBits) == len(s.cells) {
		s.cells = append(s.cells, make([]window, s.width<<chunkBits))
	}
	s.order.add(i)
	return i
}

// windows returns the windows of block i.
func (s *side) windows(i uint32) []window {
	from := int(i&chunkMask) * s.width
	return s.cells[i>>chunkBits][from : from+s.width : from+s.width]
}

// count adds o to window w under rule r. It reports whether o counted.
func (e *Engine) count(s *side, w *window, r *Rule, o *observation) bool {
	within := int64(r.Within)
	if w.last != 0 && o.at <= e.seen.at(w.last).at-within {
		return false
	}
	if r.Measure == MeasureUsers || r.Measure == MeasureSources {
		before, same := e.findSame(w, r.Measure, o)
		if same != 0 {
			if e.seen.at(same).at > o.at {
				return false
			}
			e.unlink(s, w, before, same)
		}
	}
	e.link(s, w, o)
	for oldest := e.seen.at(w.last).at - within; e.seen.at(w.first).at <= oldest; {
		e.unlink(s, w, 0, w.first)
	}
	return true
}

// findSame finds the observation in w of the same user or source as o, and
// the one before it.
func (e *Engine) findSame(w *window, m Measure, o *observation) (before, same uint32) {
	source := o.source()
	for same = w.first; same != 0; before, same = same, e.seen.at(same).next {
		have := e.seen.at(same)
		if m == MeasureUsers && have.user == o.user || m == MeasureSources && have.source() == source {
			break
		}
	}
	return before, same
}

// link puts a copy of o into w in the order of time, after its equals.
func (e *Engine) link(s *side, w *window, o *observation) {
	i := e.seen.take()
	n := e.seen.at(i)
	*n = *o
	e.names.again(o.user)
	s.held++
	w.length++
	w.recipients += o.recipients
	before := uint32(0)
	if w.last != 0 && e.seen.at(w.last).at <= o.at {
		before = w.last
	} else {
		for j := w.first; j != 0 && e.seen.at(j).at <= o.at; j = e.seen.at(j).next {
			before = j
		}
	}
	if before == 0 {
		n.next, w.first = w.first, i
	} else {
		b := e.seen.at(before)
		n.next, b.next = b.next, i
	}
	if n.next == 0 {
		w.last = i
	}
}

// unlink takes observation i, which follows before, out of w.
func (e *Engine) unlink(s *side, w *window, before, i uint32) {
	o := e.seen.at(i)
	if before == 0 {
		w.first = o.next
	} else {
		e.seen.at(before).next = o.next
	}
	if w.last == i {
		w.last = before
	}
	w.length--
	w.recipients -= o.recipients
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

// forgive takes out of w what user added until at.
func (e *Engine) forgive(s *side, w *window, user uint32, at int64) {
	before := uint32(0)
	for i := w.first; i != 0; {
		o := e.seen.at(i)
		next := o.next
		if o.user == user && o.at <= at && o.kind == AuthFailure {
			e.unlink(s, w, before, i)
		} else {
			before = i
		}
		i = next
	}
}

// emptyAll takes everything out of block i.
func (e *Engine) emptyAll(s *side, i uint32) {
	windows := s.windows(i)
	for j := range windows {
		e.empty(s, &windows[j])
	}
}

// closeBlock gives back block i with all it holds.
func (e *Engine) closeBlock(s *side, i uint32) {
	e.emptyAll(s, i)
	s.order.drop(i)
	s.owners.give(i)
}

// makeRoom sees to it that another observation may be taken. When memory is
// used up, whoever counted least recently starts from nothing, on the side
// that holds more. An attacker who wants to push out a count needs as many
// counted failures from other sources as the whole memory holds, each source
// fewer than a threshold, all within the time between two failures of the
// source that is to be forgotten. keep is the block that is being counted
// in; if there is no other, its own oldest observation goes.
func (e *Engine) makeRoom(s *side, keep uint32, w *window) {
	for e.seen.used >= e.limits.Observations {
		from, forget := &e.bySource, e.closeSourceBlock
		if e.byUser.held > e.bySource.held {
			from, forget = &e.byUser, e.closeUserBlock
		}
		victim := from.order.oldest
		if from == s && victim == keep {
			victim = from.order.links[victim].newer
		}
		switch {
		case victim != 0:
			forget(victim)
		case w.first != 0:
			e.unlink(s, w, 0, w.first)
		default:
			e.emptyAll(s, keep)
		}
	}
}

func instant(at int64) time.Time { return time.Unix(0, at).UTC() }
