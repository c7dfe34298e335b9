package agent

import (
	"net/netip"
	"strings"
	"time"

	"weir/policy"
)

// told lets a login count once, although a mail server's report and the log
// both tell of it. Whoever tells first is believed; the other's telling is
// taken for the same one, if it comes within the time that sessions last: a
// Dovecot that does not write auth_verbose lines tells of failed logins when
// the session ends.
//
// A source's failures are told apart by nothing: the log may name the user of
// a session's last attempt alone. Successes are told apart by the user's local
// part, as one side may add or take off the domain.
//
// What is held is bounded, by two generations. It is not saved: after a restart
// a login that only one side told of before may count twice.
type told struct {
	young, old map[attemptKey]balance
	turned     time.Time // when young was begun, by the time of events
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
)

func newTold() *told { return &told{young: make(map[attemptKey]balance)} }

// report notes a report, and says whether it is news. The nil told takes all
// for news.
func (t *told) report(e *policy.Event) bool { return t == nil || t.news(e, true) }

// line notes a line of the log, and says whether it is news.
func (t *told) line(e *policy.Event) bool {
	if t == nil {
		return true
	}
	switch e.Server {
	case "dovecot", "postfix", "exim": // they may ask Dovecot, which reports
		return t.news(e, false)
	}
	return true
}

func (t *told) news(e *policy.Event, report bool) bool {
	key := attemptKey{source: e.Source.Unmap(), kind: e.Kind}
	switch e.Kind {
	case policy.AuthSuccess:
		local, _, _ := strings.Cut(e.User, "@")
		key.user = policy.FoldUser(local)
	case policy.AuthFailure:
	default:
		return true
	}
	if since := e.Time.Sub(t.turned); since >= toldFor || len(t.young) >= maxTold {
		t.old, t.young, t.turned = t.young, make(map[attemptKey]balance), e.Time
		if since >= 2*toldFor {
			t.old = nil
		}
	}
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
			return false
		}
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
