package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Roundcube's log files errors and userlogins (log_logins), syslog and
// standard output. Formats are those of program/lib/Roundcube/rcube.php
// (write_log), rcube_imap.php (connect), rcube_utils.php (remote_ip) and
// program/include/rcmail.php (log_login), 1.0 to 1.7:
//
//	[[STAMP]: |FILE: ][<SESSION> ]IMAP Error: Login failed for USER[ against HOST] from CLIENT. ERROR in FILE on line N (METHOD URI)
//	… Failed login for USER from CLIENT in session SESSION (error: CODE)
//	… Successful login for USER (ID: N) from CLIENT in session SESSION
//
// CLIENT is the address of the socket, and behind it, in brackets, what the
// client or a proxy wrote into X-Real-IP and X-Forwarded-For: that is never
// believed, so behind a proxy the web server must set the address itself
// (mod_remoteip, realip). USER and the brackets are the client's words as
// they came, but for tags. So USER may hold line feeds, and what follows one
// begins a line of its own, in files and by PHP's syslog alike, but cannot have
// a session in front: where one line has had it (log_session_id, on by default
// since 1.3), no line without it is believed.
//
// The IMAP server logs the same attempt as one of the webmail's host. From
// the loopback interface it is judged by nobody; a host of its own must be
// allowed.

const (
	roundcubeServer = "roundcube"
	web             = "web"
)

// roundcubeStampLen returns the length of "22-Nov-2026 00:20:01 +0000"
// (log_date_format), a fraction with it, if line begins with it in brackets
// and a colon follows, and 0 if not. PHP's own log has no colon there.
func roundcubeStampLen(line []byte) int {
	if len(line) < len("[22-Nov-2026 00:20:01 +0000]: x") || line[0] != '[' || line[3] != '-' || line[7] != '-' || line[12] != ' ' || line[15] != ':' {
		return 0
	}
	n := bytes.IndexByte(line[:min(len(line), 40)], ']') - 1
	if n < len("22-Nov-2026 00:20:01 +0000") || !hasPrefix(line[n+1:], "]: ") {
		return 0
	}
	return n
}

func (p *Parser) roundcube(r *record, out []policy.Event) []policy.Event {
	text := r.text
	if rest, ok := skipWord(text, "errors: "); ok {
		text = rest
	} else if rest, ok := skipWord(text, "userlogins: "); ok {
		text = rest
	}
	if rest := skipRoundcubeSession(text); rest != nil {
		text = rest
		if p.web.Sessions.get(hostKey(r)) == nil {
			p.web.Sessions.put(hostKey(r), true)
		}
	} else if p.web.Sessions.get(hostKey(r)) != nil {
		return out
	}
	if rest, ok := skipWord(text, "Failed login for "); ok {
		return p.roundcubeFailure(r, rest, out)
	}
	if rest, ok := skipWord(text, "IMAP Error: Login failed for "); ok {
		return p.roundcubeError(r, rest, out)
	}
	if rest, ok := skipWord(text, "Successful login for "); ok {
		return p.roundcubeSuccess(r, rest, out)
	}
	return out
}

// roundcubeError reads "USER[ against HOST] from CLIENT. ERROR in FILE on line
// N (METHOD URI)". ERROR is "MECHANISM: ANSWER" if the IMAP server has
// answered.
func (p *Parser) roundcubeError(r *record, text []byte, out []policy.Event) []policy.Event {
	i, mark := bytes.LastIndex(text, []byte(". AUTHENTICATE ")), len(". AUTHENTICATE ")
	if j := bytes.LastIndex(text, []byte(". LOGIN: ")); j > i {
		i, mark = j, len(". ")
	}
	if i < 0 {
		return out // "Could not connect to …"
	}
	answer := text[i+mark:]
	answer = answer[max(index(answer, ": "), 0):]
	end := index(answer, " in ")
	if end <= len(": ") || saysTrouble(answer[:end]) {
		return out
	}
	// Web servers that let blanks through let the URI forge the error.
	c, ok := readRoundcubeClient(text[:i])
	if !ok || index(text[:i], " on line ") >= 0 {
		p.puzzled(r)
		return out
	}
	if i := bytes.LastIndex(c.user, []byte(" against ")); i >= 0 {
		c.user = c.user[:i]
	}
	return p.roundcubeTell(r, c, false, out)
}

// roundcubeFailure reads "USER from CLIENT in session SESSION (error: CODE)".
// Code 0 says that the IMAP server refused the password; the others are a
// server in trouble, a form that is out of date, no cookies, or too many
// attempts to judge this one.
func (p *Parser) roundcubeFailure(r *record, text []byte, out []policy.Event) []policy.Event {
	text, ok := bytes.CutSuffix(text, []byte(" (error: 0)"))
	if !ok {
		return out
	}
	text, ok = cutRoundcubeSession(text)
	c, ok2 := readRoundcubeClient(text)
	if !ok || !ok2 {
		p.puzzled(r)
		return out
	}
	return p.roundcubeTell(r, c, true, out)
}

// roundcubeSuccess reads "USER (ID: N) from CLIENT in session SESSION".
func (p *Parser) roundcubeSuccess(r *record, text []byte, out []policy.Event) []policy.Event {
	text, ok := cutRoundcubeSession(text)
	c, ok2 := readRoundcubeClient(text)
	i := bytes.LastIndex(c.user, []byte(" (ID: "))
	if !ok || !ok2 || i < 0 {
		p.puzzled(r)
		return out
	}
	p.found(roundcubeLogin)
	return p.emit(r, policy.Event{
		Kind: policy.AuthSuccess, Source: c.addr, User: p.users.name(c.user[:i]), Service: web, Server: roundcubeServer,
	}, out)
}

// skipRoundcubeSession returns b behind "<SESSION> ", nil if it does not begin
// with that.
func skipRoundcubeSession(b []byte) []byte {
	rest, ok := skipWord(b, "<")
	if !ok {
		return nil
	}
	n := 0
	for n < len(rest) && isSessionID(rest[n]) {
		n++
	}
	if rest, ok = skipWord(rest[n:], "> "); !ok || n == 0 {
		return nil
	}
	return rest
}

// isSessionID reports whether c may be part of PHP's session ID
// (session.sid_bits_per_character).
func isSessionID(c byte) bool { return isAlnum(c) || c == '-' || c == ',' }

// cutRoundcubeSession takes " in session SESSION" off the end.
func cutRoundcubeSession(b []byte) ([]byte, bool) {
	const mark = " in session "
	i := bytes.LastIndex(b, []byte(mark))
	if i < 0 {
		return nil, false
	}
	for _, c := range b[i+len(mark):] {
		if !isSessionID(c) {
			return nil, false
		}
	}
	return b[:i], true
}

// roundcubeClient is who tried to log in.
type roundcubeClient struct {
	addr netip.Addr
	user []byte // and what Roundcube writes between it and the client
}

// readRoundcubeClient reads "USER from ADDRESS" or "USER from ADDRESS[ ](X-…: …)",
// all of b. In the first form the last address is Roundcube's. In the second
// USER or the header may forge another, and then nothing tells which is which.
// Where a line has been cut on its way, within a header as long as a client
// likes, the second looks like the first.
func readRoundcubeClient(b []byte) (c roundcubeClient, ok bool) {
	const mark = " from "
	headers := bytes.HasSuffix(b, []byte{')'})
	for from := 0; ; from += len(mark) {
		i := index(b[from:], mark)
		if i < 0 {
			return c, ok
		}
		from += i
		addr, n := leadingAddr(b[from+len(mark):])
		rest, _ := skipWord(b[from+len(mark)+n:], " ")
		last := len(rest) == 0 && !headers
		if n == 0 || !last && !hasPrefix(rest, "(X-Real-IP: ") && !hasPrefix(rest, "(X-Forwarded-For: ") {
			continue
		}
		if ok && c.addr != addr {
			return c, false
		}
		if !ok || last {
			c, ok = roundcubeClient{addr, b[:from]}, true
		}
	}
}
