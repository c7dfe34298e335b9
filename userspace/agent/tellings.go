package agent

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/policy"
)

// tellings let a login count once, although a mail server's report and the log
// both tell of it. Whoever tells first is believed; the other's telling is
// taken for the same one, if it comes within the time that sessions last: a
// Dovecot that does not write auth_verbose lines tells of failed logins when
// the session ends.
//
// A report says more than a line, whether it was the same password above all.
// So while reports come, a line that is news is held for a moment, and counts
// only if no report of the same login arrives.
//
// A source's failures are told apart by nothing: the log may name the user of
// a session's last attempt alone. Successes are told apart by the user's local
// part, as one side may add or take off the domain.
//
// What is held is bounded, by two generations. It is saved with the positions of
// the logs, so that the other side's telling is known after a restart as well.
type tellings struct {
	young, old map[attemptKey]balance
	turned     time.Time // when young was begun, by the time of events

	reported time.Time // when the last report was heard, by the clock
	held     []heldLine
	input    *understanding // whose lines are read
}

// heldLine is an event that a line told of, and that waits for a report.
type heldLine struct {
	event policy.Event
	text  string
	input *understanding
	due   time.Time // by the clock
}

type attemptKey struct {
	source netip.Addr
	user   string // of a success
	kind   policy.Kind
}

// balance is how often one side told and the other has not yet.
type balance struct{ reports, lines int32 }

const (
	toldFor = 10 * time.Minute
	maxTold = 1 << 16 // of a generation
	holdFor = time.Second
	maxHeld = 1 << 13 // lines; more are not held
)

func newTellings() *tellings { return &tellings{young: make(map[attemptKey]balance)} }

// report notes a report that is heard now, and says whether it is news. The nil
// tellings take all for news.
func (t *tellings) report(e *policy.Event, now time.Time) bool {
	if t == nil {
		return true
	}
	key, login := keyOf(e)
	if !login {
		return true
	}
	t.reported = now
	for i := range t.held {
		if held, _ := keyOf(&t.held[i].event); held == key {
			t.held = slices.Delete(t.held, i, i+1)
			return true
		}
	}
	return t.news(key, e.Time, true)
}

// line notes a line of the log that is read now, and says whether it is news. A
// line that is held is none yet.
func (t *tellings) line(e *policy.Event, text []byte, now time.Time) bool {
	if t == nil {
		return true
	}
	key, login := keyOf(e)
	switch e.Server {
	case "dovecot", "postfix", "exim": // they may ask Dovecot, which reports
	default:
		login = false
	}
	switch {
	case !login:
		return true
	case now.Sub(t.reported).Abs() > toldFor || len(t.held) >= maxHeld:
		return t.news(key, e.Time, false)
	case t.settle(key, false):
		return false
	}
	t.held = append(t.held, heldLine{event: *e, text: string(text), input: t.input, due: now.Add(holdFor)})
	return false
}

// release takes the lines that have waited long enough for a report, or all.
func (t *tellings) release(now time.Time, all bool) (due []heldLine) {
	if t == nil || len(t.held) == 0 {
		return nil
	}
	n := 0
	for n < len(t.held) && (all || !now.Before(t.held[n].due) || now.Before(t.held[n].due.Add(-2*holdFor))) {
		n++
	}
	due = slices.Clone(t.held[:n])
	t.held = slices.Delete(t.held, 0, n)
	for i := range due {
		key, _ := keyOf(&due[i].event)
		t.news(key, due[i].event.Time, false)
	}
	return due
}

// keyOf returns what tells the login of e from others, and whether it is one.
func keyOf(e *policy.Event) (key attemptKey, login bool) {
	key = attemptKey{source: e.Source.Unmap(), kind: e.Kind}
	switch e.Kind {
	case policy.AuthSuccess:
		local, _, _ := strings.Cut(e.User, "@")
		key.user = policy.FoldUser(local)
		return key, true
	case policy.AuthFailure:
		return key, true
	}
	return key, false
}

// settle reports whether the other side has told of a login already, which is
// then told of by both.
func (t *tellings) settle(key attemptKey, report bool) bool {
	for _, generation := range []map[attemptKey]balance{t.old, t.young} {
		b := generation[key]
		other := &b.reports
		if report {
			other = &b.lines
		}
		if *other > 0 {
			if *other--; b == (balance{}) {
				delete(generation, key)
			} else {
				generation[key] = b
			}
			return true
		}
	}
	return false
}

// news notes that one side told of a login at a time, and reports whether the
// other had not.
func (t *tellings) news(key attemptKey, at time.Time, report bool) bool {
	if since := at.Sub(t.turned); since >= toldFor || len(t.young) >= maxTold {
		t.old, t.young, t.turned = t.young, make(map[attemptKey]balance), at
		if since >= 2*toldFor {
			t.old = nil
		}
	}
	if t.settle(key, report) {
		return false
	}
	b := t.young[key]
	if report {
		b.reports++
	} else {
		b.lines++
	}
	t.young[key] = b
	return true
}
