package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Dovecot 2.2, 2.3 and 2.4: what its login processes write of a client when
// it has logged in or gone. Formats are those of src/login-common
// (client-common.c, login-settings.c); auth.go has the auth processes.

const dovecotServer = "dovecot"

// dovecot reads "PROCESS: [Info: ]TEXT" and "PROCESS(…): [Info: ]TEXT".
func (p *Parser) dovecot(r *record, out []policy.Event) []policy.Event {
	text := r.text
	switch text[0] {
	case 'i':
		if rest, ok := skipWord(text, "imap-login: "); ok {
			return p.dovecotSession(r, "imap", rest, out)
		}
	case 'p':
		if rest, ok := skipWord(text, "pop3-login: "); ok {
			return p.dovecotSession(r, "pop3", rest, out)
		}
	case 's':
		if rest, ok := skipWord(text, "submission-login: "); ok {
			return p.dovecotSession(r, submission, rest, out)
		}
	case 'm':
		if rest, ok := skipWord(text, "managesieve-login: "); ok {
			return p.dovecotSession(r, "sieve", rest, out)
		}
	case 'a':
		if hasPrefix(text, "auth: ") || hasPrefix(text, "auth(") || hasPrefix(text, "auth-worker(") {
			return p.dovecotAuth(r, text, out)
		}
	}
	return out
}

// dovecotSession reads "TEXT: ELEMENTS", the end or the success of a session.
// TEXT is Dovecot's own, and the client's words begin in ELEMENTS.
func (p *Parser) dovecotSession(r *record, service string, text []byte, out []policy.Event) []policy.Event {
	text, _ = skipWord(text, "Info: ")
	end := index(text, ": user=<")
	if first := index(text, ": rip="); first >= 0 && (end < 0 || first < end) {
		end = first
	}
	if end < 0 {
		return out
	}
	said, elements := text[:end], text[end+2:]
	o, known := judgeSession(said)
	if !known {
		return out // a proxy's report, "ID sent", an error
	}
	source, user, ok := p.loginElements(elements)
	if !ok {
		p.puzzled(r)
		return out
	}
	p.found(o.pattern)
	r.session = lastElementID(elements)
	e := policy.Event{Kind: o.kind, Source: source, User: p.users.name(user), Service: service, Server: dovecotServer}
	switch o.kind {
	case policy.AuthFailure:
		return p.emitFailures(r, e, o.reach, o.attempts, out)
	case policy.AuthSuccess:
		return p.emitSuccess(r, e, out)
	}
	e.User = ""
	return p.emit(r, e, out)
}

// outcome is what the end of a session means.
type outcome struct {
	kind     policy.Kind
	pattern  pattern
	attempts int   // for AuthFailure
	reach    int64 // seconds in which they were made
}

// loginTime is how many seconds a client may take to log in
// (CLIENT_LOGIN_TIMEOUT_MSECS), and loginSlack covers the delays of answers.
const (
	loginTime  = 180
	loginSlack = 3
)

// judgeSession reads Dovecot's own words. Only refused credentials are a
// failure: an auth process that is down, a user that is disabled, a client
// that gave up or may not send passwords in clear has had none refused.
func judgeSession(said []byte) (o outcome, known bool) {
	o = outcome{kind: policy.Connection, pattern: dovecotDisconnect}
	switch string(said) {
	case "Login", "Logged in":
		return outcome{kind: policy.AuthSuccess, pattern: dovecotLogin}, true
	}
	ended := false
	for _, prefix := range [...]string{
		"Disconnected", "Aborted login", "Login aborted: ", "Connection closed", "Remote closed connection",
		"Client has quit the connection", "Inactivity", "Too many invalid ", "Too many bad commands", "Internal login failure",
	} {
		ended = ended || hasPrefix(said, prefix)
	}
	if !ended {
		return o, false
	}
	const failed = "(auth failed, "
	if i := index(said, failed); i >= 0 {
		attempts, length := leadingUint(said[i+len(failed):])
		rest, ok := skipWord(said[i+len(failed)+length:], " attempts")
		if !ok || length == 0 {
			return o, true // "1/2 successful auths": not the password
		}
		o = outcome{policy.AuthFailure, dovecotLoginFailure, min(max(attempts, 1), maxRepeat), loginTime}
		if rest, ok := skipWord(rest, " in "); ok {
			if secs, length := leadingUint(rest); length > 0 {
				o.reach = min(int64(secs), maxReach) + loginSlack
			}
		}
		return o, true
	}
	// The proxy took the password on trust, and the server behind refused it.
	if index(said, "(proxy dest auth failed") >= 0 || index(said, "(proxy dest authentication failure") >= 0 {
		return outcome{policy.AuthFailure, dovecotLoginFailure, 1, loginTime}, true
	}
	return o, true
}

const (
	maxLoginUser   = 80 // bytes; what client-common.c cuts names to
	maxLoginMethod = 64 // likewise MAX_MECH_NAME
)

// loginElements reads login_log_format_elements, by default
//
//	user=<USER>, method=METHOD, rip=ADDRESS, lip=ADDRESS, mpid=N, TLS, session=<ID>
//
// USER and METHOD are the client's words, and Dovecot escapes nothing in them
// but control bytes, so that a user "x>, rip=192.0.2.1, lip=192.0.2.2" puts a
// second address into the line. What stands behind rip= is Dovecot's own, so
// the last address that a user name of at most 80 bytes can stand before is
// the right one.
//
// Administrators may add elements, also such that the client chooses (the TLS
// server name), behind rip=. Lines with one address show whether they have
// done so; if they have, a line with two different ones is not believed.
func (p *Parser) loginElements(b []byte) (addr netip.Addr, user []byte, ok bool) {
	if rest, first := skipWord(b, "rip="); first {
		addr, n := leadingAddr(rest)
		return addr, elementUser(rest[n:]), n > 0 && endsElement(rest[n:])
	}
	b, ok = skipWord(b, "user=<")
	if !ok {
		return addr, nil, false
	}
	const key = ", rip="
	var tail []byte
	two := false
	for from := 0; ; {
		i := index(b[from:], key)
		if i < 0 {
			break
		}
		before := b[:from+i]
		from += i + len(key)
		a, n := leadingAddr(b[from:])
		if n == 0 || !endsElement(b[from+n:]) {
			continue
		}
		name, fits := userBefore(before)
		if !fits {
			continue
		}
		two = two || addr.IsValid() && addr != a
		addr, user, tail = a, name, b[from+n:]
	}
	switch {
	case !addr.IsValid() || two && p.extraElements:
		return netip.Addr{}, nil, false
	case !two && !p.extraElements:
		p.extraElements = !areDefaultElements(tail)
	}
	return addr, user, true
}

// lastElementID reads ", session=<ID>" at the end, where Dovecot puts it.
func lastElementID(b []byte) []byte {
	const key = ", session=<"
	i := bytes.LastIndexByte(b, '<') + 1
	if i < len(key) || string(b[i-len(key):i]) != key {
		return nil
	}
	id := b[i:]
	if rest, ok := skipID(id); !ok || len(rest) > 0 {
		return nil
	}
	return id[:len(id)-1]
}

func endsElement(b []byte) bool { return len(b) == 0 || b[0] == ',' }

// userBefore reads "USER>" or "USER>, method=METHOD", what stands before
// ", rip=", and reports whether Dovecot can have written it.
func userBefore(b []byte) (user []byte, ok bool) {
	if i := bytes.LastIndex(b, []byte(">, method=")); i >= 0 && len(b)-i <= len(">, method=")+maxLoginMethod {
		return b[:i], i <= maxLoginUser
	}
	if n := len(b); n > 0 && b[n-1] == '>' {
		return b[:n-1], n-1 <= maxLoginUser
	}
	i := bytes.IndexByte(b, '>') // an element of the administrator's lies between
	if i < 0 {
		return nil, false
	}
	return b[:i], i <= maxLoginUser
}

// elementUser reads ", user=<USER>" where it stands behind rip=.
func elementUser(b []byte) []byte {
	const key = ", user=<"
	i := index(b, key)
	if i < 0 {
		return nil
	}
	b = b[i+len(key):]
	if end := bytes.IndexByte(b, '>'); end >= 0 {
		return b[:end]
	}
	return nil
}

// areDefaultElements reports whether b has only elements of the default
// format that stand behind rip=.
func areDefaultElements(b []byte) bool {
	for len(b) > 0 {
		b = trimStart(b[1:]) // the comma
		end := bytes.IndexByte(b, ',')
		if end < 0 {
			end = len(b)
		}
		element := b[:end]
		if !hasPrefix(element, "lip=") && !hasPrefix(element, "mpid=") && !hasPrefix(element, "session=<") &&
			!hasPrefix(element, "TLS") && string(element) != "secured" && string(element) != "TSL" {
			return false
		}
		b = b[end:]
	}
	return true
}
