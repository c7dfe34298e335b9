package agent

import (
	"time"

	"weir/policy"
	"weir/userspace/maillog"
)

// recent keeps the latest records that gave events, as they were written, so
// that evidence can show them. It is bounded: what a slow attack did hours
// ago may be gone, then the observation stands without its text. The nil recent keeps
// nothing.
type recent struct {
	arena []byte       // a ring
	next  int          // where the next text begins
	lines []recentLine // a ring as well: line n is at place n modulo its length
	first uint64       // the oldest that is kept; they count from 1
	last  uint64       // the newest
	heads []uint64     // the newest of all whose numbers are alike; 0: none
}

type recentLine struct {
	time   time.Time
	number uint64
	kind   policy.Kind
	at     int    // in arena
	size   int    //
	before uint64 // the newest before it whose number is alike
}

const (
	recentBytes   = 4 << 20
	recentPerLine = 128  // bytes of arena for each entry of lines
	recentText    = 1024 // a longer text is cut
)

func newRecent(size int) *recent {
	n := size / recentPerLine
	return &recent{arena: make([]byte, size), lines: make([]recentLine, n), first: 1, heads: make([]uint64, n)}
}

// add keeps the text of an event's record, once for several events of it.
func (r *recent) add(e *policy.Event, text []byte) {
	if r == nil {
		return
	}
	text = text[:min(len(text), recentText)]
	if r.last >= r.first {
		if last := r.line(r.last); last.number == e.Line && last.kind == e.Kind && last.time.Equal(e.Time) &&
			string(r.text(last)) == string(text) {
			return
		}
	}
	if r.next+len(text) > len(r.arena) {
		for r.last >= r.first && r.line(r.first).at >= r.next { // those up to the end are the oldest
			r.first++
		}
		r.next = 0
	}
	for r.last >= r.first && (r.last-r.first+1 == uint64(len(r.lines)) || r.overlaps(r.line(r.first), len(text))) {
		r.first++
	}
	copy(r.arena[r.next:], text)
	r.last++
	head := r.head(e.Line)
	*r.line(r.last) = recentLine{time: e.Time, number: e.Line, kind: e.Kind, at: r.next, size: len(text), before: *head}
	*head = r.last
	r.next += len(text)
}

func (r *recent) line(n uint64) *recentLine { return &r.lines[n%uint64(len(r.lines))] }

func (r *recent) head(number uint64) *uint64 { return &r.heads[number%uint64(len(r.heads))] }

func (r *recent) text(l *recentLine) []byte { return r.arena[l.at : l.at+l.size] }

// overlaps reports whether l lies where the next text of size bytes will.
func (r *recent) overlaps(l *recentLine, size int) bool {
	return l.at < r.next+size && r.next < l.at+l.size
}

// fill gives each observation of sample its text.
func (r *recent) fill(sample []policy.Observation) {
	if r == nil {
		return
	}
	for i := range sample {
		o := &sample[i]
		if o.Text != "" {
			continue
		}
		for n := *r.head(o.Line); n >= r.first; n = r.line(n).before {
			if l := r.line(n); o.Line == l.number && o.Kind == l.kind && o.Time.Equal(l.time) {
				o.Text = maillog.HideSecrets(string(r.text(l)))
				break
			}
		}
	}
}
