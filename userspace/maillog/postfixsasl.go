package maillog

import (
	"bytes"

	"weir/policy"
)

// postfixReach is how many seconds before Postfix's own line the SASL server
// may have told of a failure: Dovecot delays its answer (auth_failure_delay,
// and a penalty of up to 17 seconds for sources that fail repeatedly).
const postfixReach = 30

// smtpdWarning reads what smtpd_sasl_authenticate() writes:
//
//	CLIENT: SASL METHOD authentication failed: REASON[, sasl_username=USER]
//
// The user is told since 3.9, 3.8.3, 3.7.8 and 3.5.23: cut to 100 bytes, and
// as "(unavailable)" if unknown.
//
// "SASL METHOD authentication aborted" is a client that gave up, and "AUTH
// command rate limit exceeded" (smtpd_client_auth_rate_limit) an attempt that
// was not looked at: no password was judged.
func (p *Parser) smtpdWarning(r *record, rest []byte, out []policy.Event) []policy.Event {
	source, behind, ok := readPostfixClient(rest)
	if !ok {
		if hasPrefix(rest, "SASL: Connect to ") && r.pid != 0 {
			p.sessions.put(sessionKey(r), session{Unreachable: true})
			return out
		}
		p.postfixOther(r)
		return out
	}
	rest, ok = skipWord(behind, ": SASL ")
	if !ok {
		if !hasPrefix(behind, ": request longer than ") {
			p.puzzled(r)
		}
		return out
	}
	// METHOD is what the client sent. Real ones are letters, digits, "-" and
	// "_" (RFC 4422 section 3.1); to others there are but two answers.
	n := mechanismLen(rest)
	user, judged, cyrus := []byte(nil), false, false
	if reason, ok := skipWord(rest[n:], " authentication failed:"); ok {
		reason, user = cutUser(trimStart(reason))
		judged = !p.wasUnreachable(r) && isJudged(reason)
		cyrus = string(reason) == "authentication failure" && isPlainMechanism(rest[:n])
	} else {
		judged = index(rest, " authentication failed: Invalid authentication mechanism") >= 0 ||
			bytes.HasSuffix(bytes.TrimSuffix(rest, []byte(noUser)), []byte(" authentication failed: no mechanism available"))
	}
	name := p.users.name(user)
	if judged && cyrus {
		name, judged = p.saslLends(r, name)
	}
	if !judged {
		return out
	}
	p.found(postfixSASLFailure)
	if !source.IsValid() {
		return out
	}
	return p.emitFailures(r, policy.Event{
		Kind: policy.AuthFailure, Source: source, User: name,
		Service: postfixService(r.program), Server: postfixServer,
	}, postfixReach, 1, out)
}

// mechanismLen returns the length of the SASL mechanism that b begins with.
func mechanismLen(b []byte) int {
	n := 0
	for n < len(b) && (isAlnum(b[n]) || b[n] == '-' || b[n] == '_') {
		n++
	}
	return n
}

// wasUnreachable reports whether the process has just failed to connect to
// Dovecot ("SASL: Connect to … failed"): then Postfix gives no reason, or an
// older one.
func (p *Parser) wasUnreachable(r *record) bool {
	s := p.sessions.get(sessionKey(r))
	if s == nil || !s.Unreachable {
		return false
	}
	s.Unreachable = false
	return true
}

const (
	// noUser stands where the SASL server named no user.
	noUser = ", sasl_username=(unavailable)"

	// unjudged is what Postfix says where Dovecot gave no reason and was told
	// no user: it could not be reached, or the client's answer made no sense.
	unjudged = "(reason unavailable)" + noUser
)

// cutUser takes the user off a failure's reason. The reason is the SASL
// server's text, except where it quotes the mechanism, and then no user is
// known; so the first ", sasl_username=" is Postfix's own.
func cutUser(reason []byte) (_, user []byte) {
	if hasPrefix(reason, "Invalid authentication mechanism: ") || string(reason) == unjudged {
		return reason, nil
	}
	const key = ", sasl_username="
	i := index(reason, key)
	if i < 0 {
		return reason, nil
	}
	user = reason[i+len(key):]
	if string(user) == "(unavailable)" {
		user = nil
	}
	return reason[:i], user
}

// isJudged reports whether a reason says that the credentials were refused.
// Those that do not are known: Cyrus SASL's (sasl.go) and the following. Others
// are, with Dovecot, the administrator's (the field "reason" of a passdb),
// empty, or the last challenge in base64: "UGFzc3dvcmQ6" is "Password:", and
// OAuth 2 has an error in JSON there (RFC 7628 section 3.2.2).
func isJudged(reason []byte) bool {
	switch string(reason) {
	case unjudged,
		// xsasl_dovecot_server.c: the server has gone, or the client's answer
		// made no sense.
		"Authentication backend error",
		"Can't connect to authentication server",
		"Connection lost to authentication server",
		"Invalid base64 data in continued response",
		"Invalid base64 data in initial response":
		return false
	}
	return !isSASLExcuse(reason) && !hasAnyPrefix(reason, "Temporary authentication failure", "Temporary internal failure")
}
