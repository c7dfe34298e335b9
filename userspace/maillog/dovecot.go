package maillog

import (
	"bytes"

	"weir/policy"
)

// Dovecot 2.2, 2.3 and 2.4: what its login processes write of a client when
// it has logged in or gone. Formats are those of src/login-common
// (client-common.c, client-common-auth.c). dovecotelements.go reads what they
// say of the client, dovecotproxy.go what proxies say, and dovecotauth.go has
// the auth processes. All other processes (imap, pop3, lmtp, doveadm…) tell of
// what follows a login, and are noise.

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
// TEXT is Dovecot's own, and the client's words begin in ELEMENTS; lines that
// begin otherwise quote them, or report errors.
func (p *Parser) dovecotSession(r *record, service string, text []byte, out []policy.Event) []policy.Event {
	text, _ = skipWord(text, "Info: ")
	if hasPrefix(text, "proxy(") {
		return p.dovecotProxy(r, service, text, out)
	}
	if !endsSession(text) {
		return out
	}
	end := elementsStart(text)
	if end < 0 {
		return out
	}
	// A proxy of 2.4 quotes the server behind it, which may quote the client.
	const quote = ", last failure: "
	said := text[:end]
	if i := index(said, quote); i >= 0 {
		said = said[:i]
		end = lastElementsStart(text)
	}
	return p.dovecotOutcome(r, service, judgeSession(said), text[end+2:], out)
}

// dovecotOutcome tells of a session that ended as o for the client that the
// elements name.
func (p *Parser) dovecotOutcome(r *record, service string, o outcome, elements []byte, out []policy.Event) []policy.Event {
	client, ok := p.loginElements(elements)
	if !ok {
		p.puzzled(r)
		return out
	}
	if o.judged && len(client.user) == 0 || o.instant && client.plain {
		o = outcome{kind: policy.Connection, pattern: dovecotDisconnect}
	}
	p.found(o.pattern)
	r.session = client.session
	e := policy.Event{Kind: o.kind, Source: client.addr, Service: service, Server: dovecotServer}
	if o.kind != policy.Connection && !o.nameless {
		e.User = p.users.name(client.user)
	}
	if o.kind == policy.Connection {
		return p.emit(r, e, out)
	}
	news := p.relayed.news(client.session, o)
	switch {
	case news == 0:
		return out
	case o.kind == policy.AuthSuccess:
		return p.emitSuccess(r, e, out)
	}
	return p.emitFailures(r, e, o.reach, news, out)
}

// outcome is what the end of a session means.
type outcome struct {
	kind     policy.Kind
	pattern  pattern
	attempts int   // 1 for AuthSuccess, none for Connection
	reach    int64 // seconds in which they were made
	instant  bool  // made in no time
	judged   bool  // attempts failed only if a user is named: no name, none was judged
	nameless bool  // they were for other users than the one named
	proxy    bool  // a server behind told the proxy
	whole    bool  // attempts are those of the whole session
}

// loginTime is how many seconds a client may take to log in
// (CLIENT_LOGIN_TIMEOUT_MSECS), and loginSlack covers the delays of answers.
const (
	loginTime  = 180
	loginSlack = 3
)

// endsSession reports whether text begins as Dovecot's words at a session's
// success or end do (client_destroy() and its callers).
func endsSession(text []byte) bool {
	if len(text) == 0 {
		return false
	}
	switch text[0] {
	case 'L':
		return hasPrefix(text, "Login: ") || hasPrefix(text, "Logged in: ") || hasPrefix(text, "Login aborted: ")
	case 'D':
		return hasPrefix(text, "Disconnected")
	case 'A':
		return hasPrefix(text, "Aborted login") || hasPrefix(text, "Authentication response too large")
	case 'C':
		return hasPrefix(text, "Connection closed") || hasPrefix(text, "Client has quit the connection")
	case 'R':
		return hasPrefix(text, "Remote closed connection")
	case 'I':
		return hasPrefix(text, "Inactivity") || hasPrefix(text, "Internal login failure") || hasPrefix(text, "Input buffer full")
	case 'T':
		return hasPrefix(text, "Too many invalid ") || hasPrefix(text, "Too many bad commands")
	}
	return false
}

// judgeSession reads Dovecot's own words. Only refused credentials are a
// failure: an auth process that is down, a user that is disabled, a client
// that gave up or may not send passwords in clear has had none refused. But
// a client that gives up after several attempts does not hide the others.
//
// The reason stands in brackets, from 2.4 on with how often and a keyword:
//
//	Disconnected (auth failed, 3 attempts in 14 secs)                                         (2.2)
//	Disconnected: Connection closed (auth failed, 3 attempts in 14 secs)                      (2.3)
//	Login aborted: Logged out (auth failed, 3 attempts in 14 secs) (auth_failed)              (2.4)
//	Login aborted: Logged out (login disabled, 1/3 successful auths in 14 secs) (login_disabled)
func judgeSession(said []byte) outcome {
	switch string(said) {
	case "Login", "Logged in":
		return outcome{kind: policy.AuthSuccess, pattern: dovecotLogin, attempts: 1}
	}
	for rest := said; ; {
		i := bytes.IndexByte(rest, '(')
		if i < 0 {
			return outcome{kind: policy.Connection, pattern: dovecotDisconnect}
		}
		rest = rest[i+1:]
		if o := judgeReason(rest); o.attempts > 0 {
			o.kind, o.pattern = policy.AuthFailure, dovecotLoginFailure
			o.attempts = min(o.attempts, maxRepeat)
			return o
		}
	}
}

// judgeReason reads what follows a bracket (client_get_extra_disconnect_reason).
// No attempts mean no failure. A password sent by a LOGIN command without TLS
// where that is forbidden counts among the attempts and is not looked at; then
// no time and no method are told (client_check_plaintext_auth,
// client_check_cleartext_auth).
func judgeReason(b []byte) (o outcome) {
	n := 0
	for n < len(b) && b[n] != ',' && b[n] != ')' {
		n++
	}
	attempts, successes, reach, counted := tally(b[n:])
	o.reach = reach
	switch string(b[:n]) {
	case "auth failed":
		if counted {
			o.attempts, o.whole = max(attempts, 1), true
			o.instant = reach == loginSlack
		}
	case "proxy dest auth failed": // 2.2, 2.3: not how often
		o.attempts, o.proxy, o.whole = 1, true, true
	case "proxy dest authentication failure":
		o.attempts, o.proxy, o.whole = max(attempts, 1), true, true
	case "tried to use unsupported auth mechanism", "sent invalid base64 in response":
		o.judged = true
		if o.attempts = attempts - 1; !counted {
			o.attempts = 1 // 2.3: at least
		}
	case "client didn't finish SASL auth", "auth aborted by client":
		o.judged, o.attempts = true, attempts-1
	default:
		if successes > 0 {
			o.nameless, o.attempts = true, attempts-successes
		}
	}
	return o
}

// tally reads ", N attempts[ in S secs]" or ", M/N successful auths in S secs".
func tally(b []byte) (attempts, successes int, reach int64, ok bool) {
	reach = loginTime
	if b, ok = skipWord(b, ", "); !ok {
		return 0, 0, reach, false
	}
	attempts, length := leadingUint(b)
	b = b[length:]
	if rest, of := skipWord(b, "/"); of {
		successes = attempts
		attempts, length = leadingUint(rest)
		b, ok = skipWord(rest[length:], " successful auths")
	} else {
		b, ok = skipWord(b, " attempts")
	}
	if !ok || length == 0 {
		return 0, 0, reach, false
	}
	if b, ok := skipWord(b, " in "); ok {
		if secs, length := leadingUint(b); length > 0 {
			reach = min(int64(secs), maxReach) + loginSlack
		}
	}
	return attempts, successes, reach, true
}
