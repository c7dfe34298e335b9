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
	arena []byte // a ring
	next  int    // where the next text begins
	lines []recentLine
	first int // oldest in lines, which is a ring too
	count int
}

type recentLine struct {
	time   time.Time
	number uint64
	kind   policy.Kind
	at     int // in arena
	size   int
}

const (
	recentBytes   = 4 << 20
	recentPerLine = 128  // bytes of arena for each entry of lines
	recentText    = 1024 // a longer text is cut
)

func newRecent(size int) *recent {
	return &recent{arena: make([]byte, size), lines: make([]recentLine, size/recentPerLine)}
}

// add keeps the text of an event's record, once for several events of it.
func (r *recent) add(e *policy.Event, text []byte) {
	if r == nil {
		return
	}
	text = text[:min(len(text), recentText)]
	if r.count > 0 {
		if last := r.line(r.count - 1); last.number == e.Line && last.kind == e.Kind && last.time.Equal(e.Time) &&
			string(r.text(last)) == string(text) {
			return
		}
	}
	if r.next+len(text) > len(r.arena) {
		for r.count > 0 && r.line(0).at >= r.next { // those up to the end are the oldest
			r.drop()
		}
		r.next = 0
	}
	for r.count > 0 && (r.count == len(r.lines) || r.overlaps(r.line(0), len(text))) {
		r.drop()
	}
	copy(r.arena[r.next:], text)
	r.count++
	*r.line(r.count - 1) = recentLine{time: e.Time, number: e.Line, kind: e.Kind, at: r.next, size: len(text)}
	r.next += len(text)
}

func (r *recent) line(i int) *recentLine { return &r.lines[(r.first+i)%len(r.lines)] }

func (r *recent) text(l *recentLine) []byte { return r.arena[l.at : l.at+l.size] }

// drop forgets the oldest.
func (r *recent) drop() {
	r.first = (r.first + 1) % len(r.lines)
	r.count--
}

// overlaps reports whether l lies where the next text of size bytes will.
func (r *recent) overlaps(l *recentLine, size int) bool {
	return l.at < r.next+size && r.next < l.at+l.size
}

// fill gives each observation of sample, which is oldest first, its text.
func (r *recent) fill(sample []policy.Observation) {
	if r == nil {
		return
	}
	left := len(sample)
	for i := r.count - 1; i >= 0 && left > 0; i-- {
		l := r.line(i)
		for j := range sample {
			o := &sample[j]
			if o.Text == "" && o.Line == l.number && o.Kind == l.kind && o.Time.Equal(l.time) {
				o.Text = maillog.HideSecrets(string(r.text(l)))
				left--
			}
		}
	}
}
