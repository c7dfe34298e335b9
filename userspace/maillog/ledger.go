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
	notes  []note           // a ring
	count  uint64           // notes ever written; the newest one's number
	newest map[party]uint64 // number of the party's newest note
	size   uint64

	horizon int64 // Unix; older notes are of no use
}

// party is one side's tellings of a source.
type party struct {
	source  policy.Source
	backend bool
}

// note is an attempt that one side has told of, or several of a frontend.
type note struct {
	party   party  // written to the state as an address
	Earlier uint64 // number of the party's note before this one, 0: none
	Unix    int64  // when it was told
	Reach   int64  // seconds that a frontend's telling looks back
	User    string // empty: unknown
	Place   uint64 // backend: the database that told, hashed
	Left    int32  // attempts that the other side has not told of yet
	AnyUser bool   // several attempts, of which only the last one's user is known
}

const (
	skew       = 1   // seconds by which two processes' stamps may be disordered
	chainReach = 10  // seconds in which one attempt asks all databases
	maxReach   = 600 // seconds that any telling looks back
	maxWalk    = 64  // notes of one party that are looked at
)

func newLedger(size uint64) ledger {
	return ledger{newest: make(map[party]uint64), size: size}
}

// at returns note number n, or nil if it has been overwritten.
func (l *ledger) at(n uint64) *note {
	if n == 0 || n+l.size <= l.count {
		return nil
	}
	return &l.notes[(n-1)%l.size]
}

func (l *ledger) write(n note) {
	n.Earlier = l.newest[n.party]
	l.count++
	at := (l.count - 1) % l.size
	if uint64(len(l.notes)) < l.size {
		l.notes = append(l.notes, n)
	} else {
		gone := l.notes[at].party
		if l.newest[gone] == l.count-l.size {
			delete(l.newest, gone)
		}
		l.notes[at] = n
	}
	l.newest[n.party] = l.count
	l.horizon = max(l.horizon, n.Unix-maxReach)
}

// live returns note number n, or nil if it is lost or of no use any more.
func (l *ledger) live(n uint64) *note {
	if e := l.at(n); e != nil && e.Unix >= l.horizon {
		return e
	}
	return nil
}

// backend notes that a database refused an attempt, and reports whether that
// is news.
func (l *ledger) backend(s policy.Source, user string, t time.Time, place uint64) bool {
	now := t.Unix()
	if l.isChained(s, user, now, place) {
		return false
	}
	n := note{party: party{s, true}, Unix: now, User: user, Place: place, Left: 1}
	if l.takeFrontend(s, user, now) {
		n.Left = 0
	}
	l.write(n)
	return n.Left > 0
}

// isChained reports whether another database has just refused the attempt. A
// user is looked for in one database after the other, and the first stands
// for the attempt; when it speaks again, that is a new one.
func (l *ledger) isChained(s policy.Source, user string, now int64, place uint64) bool {
	n := l.newest[party{s, true}]
	for range maxWalk {
		e := l.live(n)
		if e == nil || e.Unix < now-chainReach-skew {
			return false
		}
		if sameUser(e.User, user) {
			return e.Place != place && distance(now, e.Unix) <= chainReach
		}
		n = e.Earlier
	}
	return false
}

// takeFrontend takes an attempt away that a frontend told of before the
// backend's line was read, and reports whether there was one.
func (l *ledger) takeFrontend(s policy.Source, user string, now int64) bool {
	n := l.newest[party{s, false}]
	for range maxWalk {
		e := l.live(n)
		if e == nil {
			return false
		}
		if e.Left > 0 && now <= e.Unix+skew && now >= e.Unix-e.Reach && (e.AnyUser || sameUser(e.User, user)) {
			e.Left--
			return true
		}
		n = e.Earlier
	}
	return false
}

// frontend notes that a server process refused attempts within the last reach
// seconds, and returns how many of them are news.
func (l *ledger) frontend(s policy.Source, user string, t time.Time, reach int64, attempts int) int {
	now := t.Unix()
	told := l.takeBackend(s, user, now, reach, 1, false)
	if attempts > 1 { // the others may have been for other users
		told += l.takeBackend(s, user, now, reach, attempts-told, true)
	}
	if left := attempts - told; left > 0 {
		l.write(note{party: party{s, false}, Unix: now, Reach: reach, User: user, Left: int32(left), AnyUser: attempts > 1})
	}
	return attempts - told
}

// takeBackend takes up to most attempts away that databases told of, the
// newest first, and returns how many.
func (l *ledger) takeBackend(s policy.Source, user string, now, reach int64, most int, anyUser bool) (taken int) {
	n := l.newest[party{s, true}]
	for range maxWalk {
		e := l.live(n)
		if e == nil || taken == most {
			break
		}
		if e.Left > 0 && e.Unix <= now+skew && e.Unix >= now-reach && (anyUser || sameUser(e.User, user)) {
			e.Left = 0
			taken++
		}
		n = e.Earlier
	}
	return taken
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
