package maillog

import (
	"strings"
	"time"

	"weir/policy"
)

// ledger lets one login attempt count once, although up to three lines tell
// of it: Dovecot's auth process (the backend, which checks the password),
// and the process that the client talks to (the frontend: Postfix, or a
// Dovecot login process). Whoever tells first is believed, and leaves a note
// of it for the source; the other's telling takes the note away again.
//
// The backend writes when it has checked; the frontend when it has answered
// (Postfix) or when the connection ends (Dovecot). So a frontend's line looks
// back, as long as it says that the attempts lasted, and a backend's line is
// matched with a frontend that came first only where the stamps allow it.
type ledger struct {
	notes  []note                   // a ring
	count  uint64                   // notes ever written; the next one's number + 1
	newest map[policy.Source]uint64 // number of the source's newest note
	size   uint64
}

// note is an attempt that one side has told of, or several of a frontend.
type note struct {
	source  policy.Source // written to the state as an address
	Earlier uint64        // number of the source's note before this one, 0: none
	Unix    int64         // when it was told
	Reach   int64         // seconds that a frontend's telling looks back
	User    string        // empty: unknown
	Place   uint64        // backend: the database that told, hashed; 0: a frontend
	Left    int32         // attempts that the other side has not told of yet
	AnyUser bool          // several attempts, of which only the last one's user is known
}

const (
	skew       = 1   // seconds by which two processes' stamps may be disordered
	chainReach = 10  // seconds in which one attempt asks all databases
	maxReach   = 600 // seconds after which a note is of no use
	maxWalk    = 256 // notes of one source that are looked at
)

func newLedger(size uint64) ledger {
	return ledger{newest: make(map[policy.Source]uint64), size: size}
}

// at returns note number n, or nil if it has been overwritten.
func (l *ledger) at(n uint64) *note {
	if n == 0 || n+l.size <= l.count {
		return nil
	}
	return &l.notes[(n-1)%l.size]
}

func (l *ledger) write(n note) {
	n.Earlier = l.newest[n.source]
	l.count++
	at := (l.count - 1) % l.size
	if uint64(len(l.notes)) < l.size {
		l.notes = append(l.notes, n)
	} else {
		gone := l.notes[at].source
		if l.newest[gone] == l.count-l.size {
			delete(l.newest, gone)
		}
		l.notes[at] = n
	}
	l.newest[n.source] = l.count
}

// backend notes that a database refused an attempt, and reports whether that
// is news. A user may be looked for in several databases; the one that was
// asked first stands for the attempt.
func (l *ledger) backend(s policy.Source, user string, t time.Time, place uint64) bool {
	now := t.Unix()
	fresh := note{source: s, Unix: now, User: user, Place: place, Left: 1}
	first := true // no note of this database for this user has been met
	n := l.newest[s]
	for range maxWalk {
		e := l.at(n)
		if e == nil || distance(now, e.Unix) > maxReach {
			break
		}
		same := sameUser(e.User, user)
		switch {
		case e.Place == place:
			first = first && !same
		case e.Place != 0:
			if first && same && distance(now, e.Unix) <= chainReach {
				return false
			}
		case e.Left > 0 && now <= e.Unix+skew && now >= e.Unix-e.Reach && (e.AnyUser || same):
			e.Left--
			fresh.Left = 0
			l.write(fresh)
			return false
		}
		n = e.Earlier
	}
	l.write(fresh)
	return true
}

// frontend notes that a server process refused attempts within the last reach
// seconds, and returns how many of them are news.
func (l *ledger) frontend(s policy.Source, user string, t time.Time, reach int64, attempts int) int {
	now := t.Unix()
	matched := l.match(s, user, now, reach, 1, false)
	if attempts > 1 {
		// The others may have been for other users.
		matched += l.match(s, user, now, reach, attempts-matched, true)
	}
	if left := attempts - matched; left > 0 {
		l.write(note{source: s, Unix: now, Reach: reach, User: user, Left: int32(left), AnyUser: attempts > 1})
		return left
	}
	return 0
}

// match takes up to most notes of backends away, the newest first.
func (l *ledger) match(s policy.Source, user string, now, reach int64, most int, anyUser bool) int {
	matched := 0
	n := l.newest[s]
	for range maxWalk {
		e := l.at(n)
		if e == nil || matched == most || distance(now, e.Unix) > maxReach {
			break
		}
		if e.Place != 0 && e.Left > 0 && e.Unix <= now+skew && e.Unix >= now-reach && (anyUser || sameUser(e.User, user)) {
			e.Left = 0
			matched++
		}
		n = e.Earlier
	}
	return matched
}

// sameUser reports whether two sides may mean the same user. Either may not
// know the name, may have changed its case, taken off or added the domain
// (auth_username_format, auth_default_domain), or cut it.
func sameUser(a, b string) bool {
	if a == "" || b == "" || strings.EqualFold(a, b) {
		return true
	}
	localA, domainA, _ := strings.Cut(a, "@")
	localB, domainB, _ := strings.Cut(b, "@")
	if domainA == "" || domainB == "" {
		return strings.EqualFold(localA, localB)
	}
	shortA, cutA := strings.CutSuffix(a, "...")
	shortB, cutB := strings.CutSuffix(b, "...")
	return cutA && foldPrefix(b, shortA) || cutB && foldPrefix(a, shortB)
}

func foldPrefix(s, prefix string) bool {
	return len(prefix) >= 32 && len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
