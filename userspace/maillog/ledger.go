package maillog

import (
	"net/netip"
	"strings"
	"time"
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
//
// Where several databases are asked one after the other, a backend's line
// tells only that one of them refused: a good user's every login begins with
// "unknown user" if a list of denied users is asked first. Once a host has
// shown that it does so, its backends are heard and not believed: they lend a
// user's name to the attempt that a frontend tells of. But the last database
// may say that it is the last, and then its refusal decides.
type ledger struct {
	notes  []note           // a ring
	count  uint64           // notes ever written; the newest one's number
	newest map[party]uint64 // number of the party's newest note
	size   uint64

	horizon int64 // Unix; older notes are of no use
}

// party is one side's tellings of an address.
type party struct {
	addr    netip.Addr
	backend bool
}

// caller is an address as one session of one host sees it. Sources often try
// several hosts of a log server at once, and open several sessions.
type caller struct {
	addr    netip.Addr
	host    uint64 // 0 where the log does not say
	session uint64 // Dovecot's, hashed; likewise
}

// isOf reports whether the note's line may be of the caller's session. A proxy
// and the server behind it are two hosts of one session.
func (n *note) isOf(c caller) bool {
	if n.Session != 0 && c.session != 0 {
		return n.Session == c.session
	}
	return n.Host == c.host || n.Host == 0 || c.host == 0
}

// note is an attempt that one side has told of, or several of a frontend.
type note struct {
	party   party  // written to the state beside it
	Earlier uint64 // number of the party's note before this one, 0: none
	Unix    int64  // when it was told
	Reach   int64  // seconds that a frontend's telling looks back
	User    string // empty: unknown
	Place   uint64 // backend: the database that told, hashed
	Left    int32  // attempts that the other side has not told of yet
	Host    uint64 // as caller's
	Session uint64 // likewise
	Unknown bool   // backend: it did not know the user
	Heard   bool   // backend: not believed, so no event has come of it
	Last    bool   // backend: no other database was asked after it
	Excused bool   // backend: it was in trouble, so none shall come of it
	AnyUser bool   // several attempts, of which only the last one's user is known
}

const (
	skew       = 1   // seconds by which two processes' stamps may be disordered
	roundTime  = 1   // seconds in which databases are asked, and the client told of success
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

// refusal is what a backend's line tells.
type refusal struct {
	user    string
	place   uint64 // the database, hashed
	unknown bool   // it does not know the user
	heard   bool   // other databases may be asked yet
	last    bool   // none will be
}

// backend notes that a database refused an attempt. It reports whether that
// is news, and whether another database had refused the attempt before.
func (l *ledger) backend(c caller, r refusal, t time.Time) (news, chained bool) {
	now := t.Unix()
	if before := l.chain(c, r, now); before != nil {
		before.Unknown = before.Unknown && r.unknown
		news = r.last && before.Heard && before.Left > 0 && !before.Excused
		before.Heard = before.Heard && !news
		before.Last = before.Last || r.last
		return news, before.Place != r.place
	}
	n := note{
		party: party{c.addr, true}, Host: c.host, Session: c.session, Unix: now, User: r.user, Place: r.place, Left: 1,
		Unknown: r.unknown, Heard: r.heard, Last: r.last,
	}
	if l.takeFrontend(c, r.user, now) {
		n.Left = 0
	}
	l.write(n)
	return n.Left > 0 && !r.heard, false
}

// excuse notes that a database could not judge an attempt: what a frontend
// tells of it is nobody's offence.
func (l *ledger) excuse(c caller, user string, t time.Time) {
	now := t.Unix()
	n := l.newest[party{c.addr, true}]
	if e := l.live(n); e != nil && e.Left > 0 && e.Heard && e.isOf(c) && sameUser(e.User, user) && distance(now, e.Unix) <= roundTime {
		e.Excused = true
		return
	}
	l.write(note{party: party{c.addr, true}, Host: c.host, Session: c.session, Unix: now, User: user, Left: 1, Excused: true})
}

// success notes that a user logged in, and reports whether a database had
// refused that same attempt. Another device of the user's may be refused at
// the same time: so where sessions are named, it must be the same one.
func (l *ledger) success(c caller, user string, t time.Time) bool {
	now := t.Unix()
	n := l.newest[party{c.addr, true}]
	for range maxWalk {
		e := l.live(n)
		if e == nil || e.Unix < now-roundTime {
			return false
		}
		if e.Left > 0 && !e.Last && e.Session == c.session && e.isOf(c) && sameUser(e.User, user) {
			e.Left = 0
			return true
		}
		n = e.Earlier
	}
	return false
}

// chain returns the note of the database that has just refused the attempt,
// or nil. A user is looked for in one database after the other, and the first
// stands for the attempt; when it speaks again, that is a new one, unless two
// of one kind are asked: their lines look alike. Behind the last, none is.
func (l *ledger) chain(c caller, r refusal, now int64) *note {
	n := l.newest[party{c.addr, true}]
	for range maxWalk {
		e := l.live(n)
		if e == nil || e.Unix < now-chainReach-skew {
			return nil
		}
		if e.isOf(c) && sameUser(e.User, r.user) {
			reach := int64(chainReach)
			if e.Place == r.place {
				reach = roundTime
			}
			if e.Last || e.Place == r.place && !e.Unknown || distance(now, e.Unix) > reach {
				return nil
			}
			return e
		}
		n = e.Earlier
	}
	return nil
}

// takeFrontend takes an attempt away that a frontend told of before the
// backend's line was read, and reports whether there was one.
func (l *ledger) takeFrontend(c caller, user string, now int64) bool {
	n := l.newest[party{c.addr, false}]
	for range maxWalk {
		e := l.live(n)
		if e == nil {
			return false
		}
		if e.Left > 0 && e.isOf(c) && now <= e.Unix+skew && now >= e.Unix-e.Reach && (e.AnyUser || sameUser(e.User, user)) {
			e.Left--
			return true
		}
		n = e.Earlier
	}
	return false
}

// frontend notes that a server process refused attempts within the last reach
// seconds, of which the last was for user. It appends the users of those that
// are news to users, the last one first.
func (l *ledger) frontend(c caller, user string, t time.Time, reach int64, attempts int, users []string) []string {
	now := t.Unix()
	told, users := l.takeBackend(c, user, now, reach, 1, false, users)
	if attempts > 1 { // the others may have been for other users
		var more int
		more, users = l.takeBackend(c, user, now, reach, attempts-told, true, users)
		told += more
	}
	if left := attempts - told; left > 0 {
		l.write(note{party: party{c.addr, false}, Host: c.host, Session: c.session, Unix: now, Reach: reach, User: user, Left: int32(left), AnyUser: attempts > 1})
		for range left {
			users = append(users, user)
		}
	}
	return users
}

// takeBackend takes up to most attempts away that databases told of, those of
// the same session and the newest first. It returns how many, and appends the
// users of those that were only heard of.
func (l *ledger) takeBackend(c caller, user string, now, reach int64, most int, anyUser bool, users []string) (taken int, _ []string) {
	for _, same := range [...]bool{true, false} {
		if same && c.session == 0 {
			continue
		}
		n := l.newest[party{c.addr, true}]
		for range maxWalk {
			e := l.live(n)
			if e == nil || taken == most {
				break
			}
			n = e.Earlier
			if e.Left == 0 || !e.isOf(c) || same && e.Session != c.session || e.Unix > now+skew || e.Unix < now-reach || !anyUser && !sameUser(e.User, user) {
				continue
			}
			e.Left = 0
			taken++
			switch {
			case e.Excused || !e.Heard:
			case user != "" && sameUser(e.User, user):
				users = append(users, user) // as the client wrote it
			default:
				users = append(users, e.User)
			}
		}
	}
	return taken, users
}

// sameUser reports whether two sides may mean the same user. Either may not
// know the name, may have changed its case, taken off or added the domain
// (auth_username_format, auth_default_domain), cut it, or replaced bytes that
// do not print, one by one or two.
func sameUser(a, b string) bool {
	if a == "" || b == "" || strings.EqualFold(a, b) {
		return true
	}
	if isStub(a, b) || isStub(b, a) {
		return true
	}
	if i := strings.IndexByte(a, '?'); i >= 0 && i < len(b) && b[i] == '?' {
		return strings.EqualFold(a[:i], b[:i])
	}
	localA, domainA, _ := strings.Cut(a, "@")
	localB, domainB, _ := strings.Cut(b, "@")
	return (domainA == "" || domainB == "") && strings.EqualFold(localA, localB)
}

// isStub reports whether s is what Dovecot leaves of the long name full.
func isStub(s, full string) bool {
	s, cut := strings.CutSuffix(s, "...")
	return cut && len(s) >= 32 && len(full) >= len(s) && strings.EqualFold(full[:len(s)], s)
}
