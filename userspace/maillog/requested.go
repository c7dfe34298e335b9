package maillog

import (
	"net/netip"
	"time"
)

// A mail server that asks weir's policy server about a message before it takes
// it has told of it then, sooner and more exactly than its log will. What the
// log tells of the same message, or of the login before it, counts no more.
//
// A message is known by its queue ID and source. Behind smtpd_proxy_filter it
// has none yet when it is asked about: then by source and user, one for one.
// Whoever feeds a parser must tell it of requests before it reads lines that
// were written after them.

// request is what was told and not logged yet; of logins also what was logged
// and not told.
type request struct {
	Left int32 // negative: as many have been logged
	Unix int64
}

// requestTime is for how many seconds a request waits for its line: a slow
// client takes that long for a message that was asked about at DATA. A login
// and its first recipient are not apart for longer than greetTime.
const (
	requestTime = 3600
	greetTime   = 600
)

// Kinds of keys.
const (
	requestedMail uint32 = iota + 1
	requestedUnnamed
	requestedLogin
	requestedUnknown
)

func requestKey(kind uint32, id []byte, source netip.Addr, user string) uint64 {
	address := source.As16()
	h := newHash.uint(kind).bytes(id).bytes(address[:])
	for i := range len(user) {
		c := user[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ hash(c)) * hashStep
	}
	return uint64(h)
}

// requestedKey is that of a message, which may have no ID yet.
func requestedKey(id []byte, source netip.Addr, user string) uint64 {
	if len(id) > 0 {
		return requestKey(requestedMail, id, source, "")
	}
	return requestKey(requestedUnnamed, nil, source, user)
}

// ExpectRequests says that requests may come, which with unknown tell of unknown
// recipients as well: logins and recipients that the log tells of are noted from
// now on, for a request may come behind its line.
func (p *Parser) ExpectRequests(unknown bool) { p.asked, p.askedUnknown = true, unknown }

// RequestedMessage takes note that a message was asked about, and counted.
func (p *Parser) RequestedMessage(t time.Time, id []byte, source netip.Addr, user string) {
	if source.IsValid() {
		p.noteRequest(requestedKey(id, source, user), t.Unix(), requestTime, 1)
	}
}

// RequestedLogin takes note that a user who has logged in asks for the first
// time in a session, and reports whether no line has told of that login.
func (p *Parser) RequestedLogin(t time.Time, source netip.Addr, user string) (news bool) {
	if !source.IsValid() {
		return true
	}
	return p.noteRequest(requestKey(requestedLogin, nil, source, user), t.Unix(), greetTime, 1) > 0
}

// RequestedUnknown takes note that requests have shown an unknown recipient,
// and reports whether no line has told of it.
func (p *Parser) RequestedUnknown(t time.Time, source netip.Addr) (news bool) {
	return p.noteRequest(requestKey(requestedUnknown, nil, source, ""), t.Unix(), greetTime, 1) > 0
}

// noteRequest adds to what is left of a key and returns it. What is older than
// lasts is forgotten.
func (p *Parser) noteRequest(key uint64, now, lasts int64, more int32) int32 {
	n := request{Unix: now}
	if before := p.requested.get(key); before != nil && distance(now, before.Unix) <= lasts {
		n = request{before.Left, max(now, before.Unix)}
	}
	n.Left += more
	if n.Left == 0 {
		p.requested.remove(key)
	} else {
		p.requested.put(key, n)
	}
	return n.Left
}

// wasRequested reports whether a message that the log tells of was asked
// about, and takes the note of that away.
func (p *Parser) wasRequested(now int64, id []byte, source netip.Addr, user string) bool {
	if p.requested.empty() || !source.IsValid() {
		return false
	}
	for _, key := range [...]uint64{requestedKey(id, source, user), requestedKey(nil, source, user)} {
		if n := p.requested.get(key); n != nil && n.Left > 0 && distance(now, n.Unix) <= requestTime {
			p.noteRequest(key, now, requestTime, -1)
			return true
		}
	}
	return false
}

// loginWasRequested is the same of a login. Where no requests are expected,
// nothing is noted.
func (p *Parser) loginWasRequested(now int64, source netip.Addr, user string) bool {
	if !p.asked || !source.IsValid() {
		return false
	}
	return p.noteRequest(requestKey(requestedLogin, nil, source, user), now, greetTime, -1) >= 0
}

// unknownWasRequested is the same of an unknown recipient.
func (p *Parser) unknownWasRequested(now int64, source netip.Addr) bool {
	return p.askedUnknown && p.noteRequest(requestKey(requestedUnknown, nil, source, ""), now, greetTime, -1) >= 0
}
