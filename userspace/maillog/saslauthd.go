package maillog

import (
	"bytes"
	"net/netip"
	"time"

	"weir/policy"
)

// saslauthd of Cyrus SASL 2.1 checks passwords for Cyrus IMAP, Postfix and
// Sendmail. It writes (saslauthd/saslauthd-main.c)
//
//	[do_auth         ]: auth failure: [user=USER] [service=NAME] [realm=REALM] [mech=NAME] [reason=REASON]
//
// and answers the server, which then writes that a client of its own was
// refused. saslauthd knows no client: its lines are no events, but they lend
// the user's name to a server that does not write it (timsieved, Cyrus IMAP
// up to 2.5, Postfix before sasl_username=). Both lines are one or two
// milliseconds apart, so that they pair off; where two refusals are under way
// at once, no name is lent. Versions behind 2.1.28 also write [remote=CLIENT],
// and then there is nothing to guess.

// saslNote is what the saslauthd of a host has told of and its servers have
// not yet.
type saslNote struct {
	Unix    int64
	User    string // of the only one, or the same of all
	Pending int    // below zero: servers told first
	Mixed   bool   // of several users
	Excused bool   // of one at least the password was never judged
}

// saslReach is in how many seconds both lines are written.
const saslReach = 1

func (p *Parser) saslauthd(r *record, out []policy.Event) []policy.Event {
	rest := r.text
	if rest[0] == 'p' {
		p.saslPAM(r)
		return out
	}
	if i := bytes.IndexByte(rest[:min(len(rest), len("do_auth         :"))], ':'); i >= 0 {
		rest = rest[i:]
	}
	rest, ok := skipWord(rest, ": auth failure: [user=")
	if !ok {
		return out
	}
	t, ok := p.when(r)
	if !ok {
		return out
	}
	p.found(saslauthdFailure)
	var whole [maxUserLen]byte
	user := p.users.name(saslUser(rest, whole[:0]))
	excused := isSASLTrouble(rest)
	if addr := saslRemote(rest); addr.IsValid() {
		c := callerOf(r, addr)
		if excused {
			p.told.excuse(c, user, t)
		} else {
			p.told.backend(c, refusal{user: user, place: uint64(newHash.bytes(r.program)), heard: true}, t)
		}
		return out
	}
	p.saslRefuses(r, t, user, excused)
	return out
}

// saslUser returns the user that stands in b, with the realm as Cyrus SASL
// has taken it off. Whoever puts the log's own words into a name has none.
func saslUser(b, to []byte) []byte {
	const service, realm = "] [service=", "] [realm="
	i := index(b, service)
	if i < 0 || index(b[i+1:], service) >= 0 {
		return nil
	}
	user, b := b[:i], b[i:]
	i = index(b, realm)
	if i < 0 || index(b[i+1:], realm) >= 0 {
		return nil
	}
	b = b[i+len(realm):]
	end := index(b, "] [remote=")
	if end < 0 {
		end = index(b, "] [mech=")
	}
	if end <= 0 || bytes.IndexByte(user, '@') >= 0 { // saslauthd -r puts it together itself
		return user
	}
	if len(user)+1+end > cap(to) {
		return user
	}
	return append(append(append(to, user...), '@'), b[:end]...)
}

// saslRemote returns the client behind "] [remote=", as ADDRESS;PORT.
func saslRemote(b []byte) netip.Addr {
	i := bytes.LastIndex(b, []byte("] [remote="))
	if i < 0 {
		return netip.Addr{}
	}
	addr, n := leadingAddr(b[i+len("] [remote="):])
	tail := b[i+len("] [remote=")+n:]
	if n == 0 || len(tail) == 0 || tail[0] != ';' {
		return netip.Addr{}
	}
	_, n = leadingUint(tail[1:])
	if !hasPrefix(tail[1+n:], "] [mech=") {
		return netip.Addr{}
	}
	return addr
}

// isSASLTrouble reports whether the mechanism could not judge the password.
// Its reason is the last word of the line.
func isSASLTrouble(b []byte) bool {
	i := bytes.LastIndex(b, []byte("] [reason="))
	if i < 0 {
		return false
	}
	return hasAnyPrefix(b[i+len("] [reason="):],
		"PAM start error", "PAM session error", "internal mechanism failure", "[ALERT] ", "saslauthd internal error",
		"Username lookup failure", "Username shadow lookup failure", "Insufficient permission", "setpwdb() internal failure",
		"(auth_dce malloc failure)", "(possible system error)")
}

// saslRefuses notes that the saslauthd of r's host has refused user.
func (p *Parser) saslRefuses(r *record, t time.Time, user string, excused bool) {
	key, now := hostKey(r), t.Unix()
	n := p.sasl.get(key)
	switch {
	case n == nil || n.Pending == 0 || distance(n.Unix, now) > saslReach:
		p.sasl.put(key, saslNote{now, user, 1, user == "", excused})
	case n.Pending < 0:
		n.Pending++
	default:
		n.Unix = now
		n.Pending++
		n.Mixed = n.Mixed || n.User != user
		n.Excused = n.Excused || excused
	}
}

// saslLends returns the user of a refusal that a server tells of, and whether
// the password was judged at all. user is what the server itself says.
func (p *Parser) saslLends(r *record, user string) (lent string, judged bool) {
	t, ok := p.when(r)
	if !ok {
		return user, true
	}
	key, now := hostKey(r), t.Unix()
	n := p.sasl.get(key)
	switch {
	case n == nil || distance(n.Unix, now) > saslReach:
		p.sasl.put(key, saslNote{Unix: now, User: user, Pending: -1})
		return user, true
	case n.Pending <= 0:
		n.Unix = now
		n.Pending--
		return user, true
	case user != "" && !n.Mixed && !sameUser(user, n.User):
		return user, true // of another saslauthd, or of none
	}
	n.Pending--
	if user == "" && !n.Mixed {
		user = n.User
	}
	return user, !n.Excused
}

// saslPAM reads
//
//	pam_unix(SERVICE:auth): authentication failure; logname=… rhost=ADDRESS  user=USER
//
// of a process that checks passwords for mail servers, where PAM has been told
// the client. The module may be one of several, so it only lends the name.
func (p *Parser) saslPAM(r *record) {
	const failed = ":auth): authentication failure; logname="
	i := index(r.text, failed)
	if i < 0 || !hasPrefix(r.text, "pam_") {
		return
	}
	rest := r.text[i+len(failed):]
	i = index(rest, " rhost=")
	if i < 0 {
		return
	}
	addr, n := leadingAddr(rest[i+len(" rhost="):])
	user, ok := skipWord(rest[i+len(" rhost=")+n:], "  user=")
	t, known := p.when(r)
	if n == 0 || !ok || !known {
		return
	}
	p.found(saslauthdPAM)
	p.courier.Trouble.remove(hostKey(r)) // authdaemond is there
	p.told.backend(callerOf(r, addr), refusal{user: p.users.name(user), place: uint64(newHash.bytes(r.program)), heard: true}, t)
}
