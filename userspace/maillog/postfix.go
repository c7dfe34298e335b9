package maillog

import (
	"net/netip"

	"weir/policy"
)

// Postfix, from 3.4 to 3.11. Formats are those of src/smtpd (smtpd.c,
// smtpd_chat.c, smtpd_check.c, smtpd_sasl_glue.c), src/xsasl, src/postscreen
// and src/global/opened.c; each file here names its own.
//
// Postfix writes a client as NAME[ADDRESS], or NAME[ADDRESS]:PORT with
// smtpd_client_port_logging. NAME has passed valid_hostname(): letters,
// digits, "-", "_" and "." only, or it is "unknown". So the first bracket
// behind the server's own words is the server's own, and what a client says
// (HELO, addresses, SASL mechanism and user) always stands behind it. Behind
// a proxy that the administrator trusts (smtpd_upstream_proxy_protocol,
// smtpd_authorized_xclient_hosts) Postfix writes whom the proxy names.
//
// smtpd, postscreen and qmgr tell of clients, and cleanup of what filters
// think (postfixmilter.go). Of the other programs that name addresses,
// anvil's statistics ("max connection rate 30/60s for (smtp:203.0.113.5) at
// …") only sum up connections, logins and messages that smtpd has told one by
// one; tlsproxy repeats postscreen; smtp and lmtp speak of other hosts.

const (
	postfixServer = "postfix"
	smtp          = "smtp"
	submission    = "submission"
)

// session is an SMTP session, by the process that serves it.
type session struct {
	Source      netip.Addr
	User        string // empty until the client has logged in
	Unreachable bool   // the SASL server was, when the client tried last
}

func (p *Parser) smtpd(r *record, out []policy.Event) []policy.Event {
	switch text := r.text; text[0] {
	case 'c':
		if rest, ok := skipWord(text, "connect from "); ok {
			return p.smtpdConnect(r, rest, out)
		}
	case 'd':
		// The counts at the end tell nothing new. "auth=0/1" is a failure
		// that has been told, or an AUTH that was never judged: none is
		// offered there, TLS is missing, the client gave up.
		if hasPrefix(text, "disconnect from ") {
			p.sessions.remove(sessionKey(r))
			return out
		}
	case 'l':
		// Who hangs up within AUTH has sent no password, or its failure has
		// been told.
		if hasPrefix(text, "lost connection after ") {
			return out
		}
	case 'p':
		if rest, ok := skipWord(text, "proxy-accept: END-OF-MESSAGE: "); ok {
			return p.smtpdProxyAccept(r, rest, out)
		}
	case 'w':
		if rest, ok := skipWord(text, "warning: "); ok {
			return p.smtpdWarning(r, rest, out)
		}
	}
	id, rest := queueID(r.text)
	if rest, ok := skipWord(rest, "client="); ok && id != nil {
		return p.smtpdClient(r, id, rest, out)
	}
	if rest, ok := skipWord(rest, "reject: "); ok && id != nil {
		return p.smtpdReject(r, rest, out)
	}
	if rest, ok := skipWord(rest, "milter-reject: "); ok && id != nil {
		return p.smtpdReject(r, rest, out)
	}
	p.postfixOther(r)
	return out
}

func (p *Parser) smtpdConnect(r *record, rest []byte, out []policy.Event) []policy.Event {
	source, rest, ok := readPostfixClient(rest)
	if !ok || len(rest) != 0 {
		p.puzzled(r)
		return out
	}
	p.found(postfixConnect)
	p.sessions.remove(sessionKey(r))
	if !source.IsValid() {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.Connection, Source: source, Service: postfixService(r.program), Server: postfixServer,
	}, out)
}

// postscreen reads
//
//	DISCONNECT [ADDRESS]:PORT
//
// which psc_conclude() writes of each connection that it does not pass on to
// smtpd, and of no other: smtpd tells of those. So every connection is told
// of once, whatever the tests have said of it before ("PASS NEW" is followed
// by either). What postscreen refuses (RCPT, DNS lists, clients that speak
// too early) it refuses to the client, and of no user or recipient.
func (p *Parser) postscreen(r *record, out []policy.Event) []policy.Event {
	rest, ok := skipWord(r.text, "DISCONNECT [")
	if !ok {
		p.postfixOther(r)
		return out
	}
	source, n := leadingAddr(rest)
	rest, ok = skipWord(rest[n:], "]:")
	if _, isPort := digits(rest); n == 0 || !ok || !isPort {
		p.puzzled(r)
		return out
	}
	p.found(postfixScreened)
	return p.emit(r, policy.Event{
		Kind: policy.Connection, Source: source, Service: postfixService(r.program), Server: postfixServer,
	}, out)
}

// smtpdReject reads
//
//	QUEUEID: reject: RCPT from CLIENT: 550 5.1.1 <RECIPIENT>: Recipient address rejected: WHY; from=…
//	QUEUEID: reject: VRFY from CLIENT: …
//	QUEUEID: milter-reject: RCPT from CLIENT: 550 5.1.1 TEXT; from=…
//
// The reply's codes stand before anything that the client has said, and 5.1.1
// says that there is no such mailbox (RFC 3463 section 3.2), whoever says so:
// the recipient tables, an address probe ("undeliverable address"), an access
// table, a policy server or a milter. smtpd_dsn_fix() keeps the code from
// rejections of senders and clients.
//
// With 4.1.1 the sender is asked to come again (soft_bounce,
// unknown_local_recipient_reject_code = 450, "unverified address"), and any
// good one will, for days: that is for an administrator who does not trust
// the tables yet, and no offence.
func (p *Parser) smtpdReject(r *record, rest []byte, out []policy.Event) []policy.Event {
	rest, rcpt := skipWord(rest, "RCPT from ")
	if !rcpt {
		var vrfy bool
		if rest, vrfy = skipWord(rest, "VRFY from "); !vrfy {
			return out
		}
	}
	source, rest, ok := readPostfixClient(rest)
	if !ok || !hasPrefix(rest, ": ") {
		p.puzzled(r)
		return out
	}
	rest = rest[len(": "):]
	if len(rest) < len("550 5.1.1 ") || rest[0] != '5' || !isDigit(rest[1]) || !isDigit(rest[2]) || string(rest[3:10]) != " 5.1.1 " {
		return out
	}
	p.found(postfixUnknownRecipient)
	if !source.IsValid() {
		return out
	}
	if t, ok := p.when(r); ok && p.unknownWasRequested(t.Unix(), source) {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.UnknownRecipient, Source: source, Service: postfixService(r.program), Server: postfixServer,
	}, out)
}
