package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Cyrus IMAP, from 2.3 to 3.12; cyruslogfmt.go reads what came after. Formats
// are those of imap/imapd.c, imap/pop3d.c, imap/httpd.c and timsieved/parser.c:
//
//	badlogin: CLIENT plaintext (USER) [REASON]
//	badlogin: CLIENT MECHANISM (USER) [REASON]
//	badlogin: CLIENT MECHANISM REASON            (timsieved)
//	badlogin: CLIENT Basic USER REASON           (httpd)
//	login: CLIENT USER MECHANISM[+TLS] User logged in[ SESSIONID=<…>]
//
// Up to 2.5 no parentheses are written around USER, and only plaintext logins
// have one. REASON is of the SASL library, mostly "SASL(-13): authentication
// failure: DETAIL".
//
// The client stands before all of its words: a user may well be named
// "x [192.0.2.1] plaintext y SASL(-13): authentication failure: z".
//
// LMTP, MUPDATE and replication have clients that are servers, whose wrong
// passwords are the administrator's: they are not read.

const cyrusServer = "cyrus"

// cyrusReach is how many seconds before a Cyrus server its saslauthd may have
// told of the same failure.
const cyrusReach = 5

// cyrusService tells the service from the name that cyrus.conf gives to it,
// and that is the program's: imap, imaps, imaplocal, pop3s, sieve, timsieved.
func cyrusService(name []byte) string {
	switch {
	case hasPrefix(name, "imap"):
		return "imap"
	case hasPrefix(name, "pop3"):
		return "pop3"
	case hasPrefix(name, "http"):
		return "web" // calendars, address books, JMAP
	case hasPrefix(name, "sieve"), string(name) == "timsieved", string(name) == "managesieve":
		return "sieve"
	}
	return ""
}

func (p *Parser) cyrus(r *record, out []policy.Event) []policy.Event {
	switch r.text[0] {
	case 'b':
		if rest, ok := skipWord(r.text, "badlogin: "); ok {
			return p.cyrusTold(r, rest, true, out)
		}
	case 'l':
		if rest, ok := skipWord(r.text, "login: "); ok {
			return p.cyrusTold(r, rest, false, out)
		}
	case 'e':
		if rest, ok := skipWord(r.text, "event=login."); ok {
			return p.cyrusEvent(r, rest, out)
		}
	}
	return out
}

// cyrusTold reads "CLIENT …" of a login that was bad, or good.
func (p *Parser) cyrusTold(r *record, rest []byte, bad bool, out []policy.Event) []policy.Event {
	addr, rest, ok := cyrusClient(rest)
	if ok {
		rest, ok = skipWord(rest, " ")
	}
	switch {
	case !ok:
		p.puzzled(r)
		return out
	case !bad:
		return p.cyrusGood(r, addr, rest, out)
	case !isCyrusRefusal(rest):
		return out
	}
	return p.cyrusFailure(r, addr, rest, cyrusUser(rest), out)
}

// cyrusFailure tells of a refused login. words begin with the mechanism.
func (p *Parser) cyrusFailure(r *record, addr netip.Addr, words, user []byte, out []policy.Event) []policy.Event {
	name := p.users.name(user)
	if isPlainMechanism(words) {
		lent, judged := p.saslLends(r, name)
		if !judged {
			return out
		}
		name = lent
	}
	p.found(cyrusLoginFailure)
	if !addr.IsValid() {
		return out // by a local socket
	}
	return p.emitFailures(r, policy.Event{
		Kind: policy.AuthFailure, Source: addr, User: name, Service: cyrusService(lastPart(r.program)), Server: cyrusServer,
	}, cyrusReach, 1, out)
}

// isCyrusRefusal reports whether the SASL library refused the login (sasl.go),
// or the server itself for want of such a user. Where a client's own words say
// that it was refused, it may have that.
func isCyrusRefusal(rest []byte) bool {
	const mark = "SASL(-"
	for b := rest; ; {
		i := index(b, mark)
		if i < 0 {
			break
		}
		b = b[i+len(mark):]
		if n, length := leadingUint(b); isSASLOffenceNumber(n) && hasPrefix(b[length:], "): ") {
			return true
		}
	}
	return endsInSASLOffence(rest, "[", "]") ||
		endsInSASLOffence(rest, " ", "") || // timsieved, pop3d of 2.5
		bytes.HasSuffix(rest, []byte(" invalid user")) || bytes.HasSuffix(rest, []byte("anonymous login refused"))
}

// cyrusUser returns USER of "MECHANISM (USER) [REASON]" and the like, or nil.
func cyrusUser(rest []byte) []byte {
	mechanism, words, _ := bytes.Cut(rest, []byte(" "))
	if string(rest) == "anonymous login refused" {
		return mechanism
	}
	if string(mechanism) == "APOP" {
		return nil // the challenge stands there
	}
	if user, ok := skipWord(words, "("); ok {
		user, ok = bytes.CutSuffix(user, []byte(") invalid user"))
		if !ok {
			user = user[:max(bytes.LastIndex(user, []byte(") [")), 0)]
		}
		if string(user) == "-notset-" {
			return nil
		}
		return user
	}
	if string(mechanism) != "plaintext" && string(mechanism) != "Basic" {
		return nil
	}
	if user, ok := bytes.CutSuffix(words, []byte(" invalid user")); ok {
		return user
	}
	if end := bytes.LastIndex(words, []byte(" SASL(-")); end >= 0 {
		return words[:end]
	}
	return nil
}

// cyrusGood reads a login. "anonymous PASSWORD" is none.
func (p *Parser) cyrusGood(r *record, addr netip.Addr, rest []byte, out []policy.Event) []policy.Event {
	const key = " User logged in"
	end := bytes.LastIndex(rest, []byte(key))
	if end < 0 {
		return out
	}
	if tail := rest[end+len(key):]; len(tail) > 0 && !hasPrefix(tail, " SESSIONID=<") {
		return out
	}
	i := bytes.LastIndexByte(rest[:end], ' ')
	if i < 0 {
		return out
	}
	return p.cyrusSuccess(r, addr, rest[:i], out)
}

func (p *Parser) cyrusSuccess(r *record, addr netip.Addr, user []byte, out []policy.Event) []policy.Event {
	p.found(cyrusLogin)
	if !addr.IsValid() {
		return out
	}
	return p.emitLogin(r, policy.Event{
		Kind: policy.AuthSuccess, Source: addr, User: p.users.name(user), Service: cyrusService(lastPart(r.program)), Server: cyrusServer,
	}, out)
}

// emitLogin appends the login e of a server whose databases lend names only:
// that one of them had refused it says nothing.
func (p *Parser) emitLogin(r *record, e policy.Event, out []policy.Event) []policy.Event {
	if t, ok := p.when(r); ok {
		p.told.success(callerOf(r, e.Source), e.User, t)
	}
	return p.emit(r, e, out)
}

// cyrusClient reads a client at the beginning of b and returns what stands
// behind. The server writes
//
//	[ADDRESS]            where the address has no name
//	NAME [ADDRESS]
//	NAME[ADDRESS]        timsieved up to 2.5
//
// NAME is whatever the client's DNS says, only without spaces. So where two
// places could be the client's, neither is believed. The address is invalid
// where the server did not know it, or has none: "[unknown]", "[unix socket]".
func cyrusClient(b []byte) (addr netip.Addr, rest []byte, ok bool) {
	n := bytes.IndexByte(b, ' ')
	if n < 0 {
		n = len(b)
	}
	word := b[:n]
	for _, none := range [...]string{"[unknown]", "[unix socket]"} {
		if rest, ok := skipWord(b, none); ok {
			return addr, rest, true
		}
	}
	ahead := b[n:]
	if len(ahead) > 0 {
		ahead = ahead[1:]
	}
	second, behind, two := bracketed(ahead)
	if i := bytes.LastIndexByte(word, '['); i >= 0 {
		if first, rest, one := bracketed(b[i:]); one && len(rest) == len(b)-n {
			return first, rest, !two
		}
	}
	if two {
		return second, behind, true
	}
	if rest, ok := skipWord(ahead, "[unknown]"); ok {
		return addr, rest, true
	}
	return addr, b, false
}

// bracketed reads "[ADDRESS]" and returns what stands behind, if that is a
// space or nothing.
func bracketed(b []byte) (addr netip.Addr, rest []byte, ok bool) {
	rest, ok = skipWord(b, "[")
	if !ok {
		return addr, b, false
	}
	addr, n := leadingAddr(rest)
	rest, ok = skipWord(rest[n:], "]")
	if n == 0 || !ok || len(rest) > 0 && rest[0] != ' ' {
		return netip.Addr{}, b, false
	}
	return addr, rest, true
}

// lastPart returns what stands behind the last slash of a program's name.
func lastPart(program []byte) []byte {
	return program[bytes.LastIndexByte(program, '/')+1:]
}
