package maillog

import (
	"bytes"

	"weir/policy"
)

// nginx as a mail proxy: its error log at the level info, a file of its own
// or sent to syslog. Formats are those of src/core/ngx_log.c and
// src/mail/ngx_mail_handler.c (ngx_mail_log_error), 1.18 to 1.29:
//
//	STAMP [LEVEL] PID#TID: *NUMBER TEXT[ while ACTION], client: ADDRESS[ using starttls],
//	    server: ADDRESS[, login: "USER"][, upstream: ADDRESS]
//
// USER is the client's word as it came, quotes and line feeds included. So in
// a file a client can begin a line of its own, and nothing in it tells that
// line from a real one; in a record that came by syslog it cannot.
//
// ADDRESS is the client's that a trusted PROXY header names, if realip is set
// up, else that of the socket. The server behind nginx may log the same
// attempt from nginx's own address: that is not the client's, and of the
// loopback interface policy judges nothing.

const nginxServer = "nginx"

// nginxStampSize is the length of "2026/11/22 00:20:01".
const nginxStampSize = 19

// nginxStampLen returns the length of what nginx begins a line with, up to
// the level in brackets, and 0 if line does not begin so.
func nginxStampLen(line []byte) int {
	const n = nginxStampSize
	if len(line) < n+3 || line[4] != '/' || line[7] != '/' || line[10] != ' ' || line[13] != ':' || line[n] != ' ' || line[n+1] != '[' {
		return 0
	}
	return n + 1
}

func (p *Parser) nginx(r *record, out []policy.Event) []policy.Event {
	text, ok := nginxText(r.text)
	if !ok {
		return out
	}
	if text, ok = skipWord(text, "client "); !ok {
		return out
	}
	if rest, ok := skipWord(text, "login failed: \""); ok {
		return p.nginxFailure(r, rest, out)
	}
	if rest, ok := skipWord(text, "logged in, client: "); ok {
		return p.nginxSuccess(r, rest, out)
	}
	return p.nginxConnection(r, text, out)
}

// nginxText takes off what stands before the text: "STAMP [LEVEL] PID#TID: *NUMBER ".
func nginxText(b []byte) ([]byte, bool) {
	n := nginxStampLen(b)
	if n == 0 {
		return nil, false // an access log
	}
	if b = b[n:]; !hasPrefix(b, "[info] ") {
		return nil, false
	}
	b = b[len("[info] "):]
	i := bytes.IndexByte(b, '*')
	if i < 0 || i > len("4294967295#4294967295: ") {
		return nil, false
	}
	_, n = leadingUint(b[i+1:])
	return skipWord(b[i+1+n:], " ")
}

// nginxConnection reads "ADDRESS:PORT connected to SERVER". Where a PROXY
// header follows, the address is that of the proxy. The stream module writes
// the same of connections to any port, so only those for mail count.
func (p *Parser) nginxConnection(r *record, text []byte, out []policy.Event) []policy.Event {
	const mark = " connected to "
	i := index(text, mark)
	if i < 0 {
		return out
	}
	server := text[i+len(mark):]
	client, _ := skipWord(text[:max(bytes.LastIndexByte(text[:i], ':'), 0)], "[")
	addr, n := leadingAddr(client)
	service := mailService(server)
	if n == 0 || service == "" {
		return out
	}
	p.found(nginxConnect)
	return p.emit(r, policy.Event{Kind: policy.Connection, Source: addr, Service: service, Server: nginxServer}, out)
}

// nginxFailure reads what stands behind the quote in
//
//	login failed: "ANSWER" while in http auth state, client: …
//
// ANSWER is that of the authentication server, and its own affair. Should it
// quote the user, there are two clients in the line, as when a user name
// forges one.
func (p *Parser) nginxFailure(r *record, text []byte, out []policy.Event) []policy.Event {
	const mark = "\" while in http auth state, client: "
	i := index(text, mark)
	if i < 0 {
		return out
	}
	answer, text := text[:i], text[i+len(mark):]
	c, ok := readNginxClient(text)
	if !ok || len(c.user) == 0 || saysTrouble(answer) {
		return out // a client of a socket; or a recipient refused; or no fault of the client
	}
	if index(text, mark) >= 0 {
		p.puzzled(r)
		return out
	}
	p.found(nginxLoginFailure)
	e := c.event(p, policy.AuthFailure)
	return p.emitFailures(r, e, postfixReach, 1, out) // the server asked may be Dovecot
}

// nginxSuccess reads what stands behind "logged in, client: ". Without a user
// it is a stranger's mail that passes.
func (p *Parser) nginxSuccess(r *record, text []byte, out []policy.Event) []policy.Event {
	c, ok := readNginxClient(text)
	if !ok || len(c.user) == 0 {
		return out
	}
	p.found(nginxLogin)
	return p.emitSuccess(r, c.event(p, policy.AuthSuccess), out)
}
