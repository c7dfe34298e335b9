package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Exim 4, its main log as a file or by syslog. Formats are those of
// src/smtp_in.c, src/receive.c, src/deliver.c, src/daemon.c and src/host.c,
// from 4.92 to 4.99; eximhost.go reads a client, eximtext.go what stands
// before the text, eximmail.go messages.

const eximServer = "exim"

// eximReach is how many seconds before Exim's own line the authenticator may
// have told of a failure, if it is Dovecot; see postfixReach.
const eximReach = postfixReach

func (p *Parser) exim(r *record, out []policy.Event) []policy.Event {
	if !p.eximText(r) || len(r.text) == 0 {
		return out
	}
	if id, rest := eximID(r.text); id != nil {
		return p.eximMail(r, id, rest, out)
	}
	switch r.text[0] {
	case 'H':
		if rest, ok := skipWord(r.text, "H="); ok {
			return p.eximReject(r, rest, out)
		}
	case 'S':
		if rest, ok := skipWord(r.text, "SMTP connection from ["); ok {
			return p.eximConnection(r, rest, " (TCP/IP connection count = ", out)
		}
	case 'C':
		if rest, ok := skipWord(r.text, "Connection from ["); ok {
			return p.eximConnection(r, rest, " refused: ", out)
		}
	case 'n':
		if rest, ok := skipWord(r.text, "no MAIL in "); ok {
			return p.eximNoMail(r, rest, out)
		}
	case 'r':
		if hasPrefix(r.text, "rejected EHLO from ") || hasPrefix(r.text, "rejected HELO from ") {
			p.eximBadHELO(r.text)
			return out
		}
	}
	n := 0
	for n < len(r.text) && isDriverName(r.text[n]) {
		n++
	}
	if rest, ok := skipWord(r.text[n:], " authenticator failed for "); ok && n > 0 {
		return p.eximRefusal(r, rest, out)
	}
	p.eximOther(r)
	return out
}

// isDriverName reports whether c may be part of an authenticator's name.
func isDriverName(c byte) bool { return isAlnum(c) || c == '_' || c == '-' || c == '.' }

// eximRefusal reads
//
//	AUTHENTICATOR authenticator failed for CLIENT: REPLY[ (set_id=USER)]
//
// Only the reply 535 says that credentials were refused: 435 is the server's
// trouble, 501 and 553 are a broken exchange. From 4.99 on, "H=" stands
// before the client.
func (p *Parser) eximRefusal(r *record, rest []byte, out []policy.Event) []policy.Event {
	rest, _ = skipWord(rest, "H=")
	c, ok := p.eximClient(rest, isBeforeReply)
	if !ok {
		p.puzzled(r)
		return out
	}
	rest, ok = skipWord(c.rest, ": 535 Incorrect authentication data")
	if !ok {
		return out
	}
	user, _ := skipWord(rest, " (set_id=")
	user, closed := bytes.CutSuffix(user, []byte(")"))
	if len(rest) > 0 && (!closed || len(user) == len(rest)-1) {
		p.puzzled(r)
		return out
	}
	p.found(eximAuthFailure)
	t, ok := p.when(r)
	if !ok || p.isEximCopy(r, t.Unix()) {
		return out
	}
	e := policy.Event{
		Kind: policy.AuthFailure, Source: c.addr, User: p.users.name(user), Service: c.service, Server: eximServer,
	}
	return p.emitFailures(r, e, eximReach, 1, out)
}

func isBeforeReply(b []byte) bool {
	b, ok := skipWord(b, ": ")
	return ok && len(b) > 4 && (b[0] == '4' || b[0] == '5') && isDigit(b[1]) && isDigit(b[2]) && b[3] == ' '
}

// eximReject reads
//
//	H=CLIENT[ X=…][ CV=…][ DN="…"][ SNI=…] F=<SENDER>[ A=…] rejected RCPT ARGUMENT: REASON
//
// The reason stands at the end and is the server's, or its administrator's.
func (p *Parser) eximReject(r *record, rest []byte, out []policy.Event) []policy.Event {
	if index(rest, " rejected RCPT ") < 0 || !isEximUnknown(rest) {
		return out
	}
	c, ok := p.eximClient(rest, isBeforeSender)
	if !ok {
		p.puzzled(r)
		return out
	}
	rest = c.rest[index(c.rest, " F=<")+len(" F=<"):]
	rest = rest[unquoted(rest, '>'):]
	if rest, ok = skipWord(rest, ">"); ok && hasPrefix(rest, " A=") {
		rest = rest[max(index(rest, " rejected RCPT "), 0):]
	}
	if !hasPrefix(rest, " rejected RCPT ") {
		return out // "temporarily rejected", or another command
	}
	p.found(eximUnknownRecipient)
	t, ok := p.when(r)
	if !ok || p.isEximCopy(r, t.Unix()) {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.UnknownRecipient, Source: c.addr, Service: c.service, Server: eximServer,
	}, out)
}

func isBeforeSender(b []byte) bool {
	if hasPrefix(b, " F=<") {
		return true
	}
	return (hasPrefix(b, " X=") || hasPrefix(b, " CV=") || hasPrefix(b, " DN=") || hasPrefix(b, " SNI=")) && index(b, " F=<") > 0
}

// eximConnection reads what the daemon writes before the client has a word:
//
//	SMTP connection from [ADDRESS]… (TCP/IP connection count = N)
//	Connection from [ADDRESS]… refused: REASON
//
// The first needs log_selector = +smtp_connection.
func (p *Parser) eximConnection(r *record, rest []byte, end string, out []policy.Event) []policy.Event {
	c, ok := eximAddress(rest)
	if !ok || !hasPrefix(c.rest, end) {
		return out // the end of a session
	}
	p.found(eximConnect)
	return p.emit(r, policy.Event{
		Kind: policy.Connection, Source: c.addr, Service: c.service, Server: eximServer,
	}, out)
}

// eximOther counts a line that no pattern knows, if it names a client and is
// none of those that are known to say nothing. Sessions that end early are
// none of a client's offences, and its connection has been told of.
//
// A log that names no program may be anybody's, until it has shown otherwise.
func (p *Parser) eximOther(r *record) {
	if r.mainlog && p.counts.patterns[eximArrival]+p.counts.patterns[eximAuthFailure] == 0 {
		return
	}
	if hasAnyPrefix(r.text,
		"SMTP ", "no MAIL in ", "unexpected disconnection while ", "TLS error on ", "TLS session", "rejected ", "temporarily rejected ",
		"refused connection from ", "no host name found ", "no IP address found ", "unqualified ", "U=", "VRFY failed ", "EXPN ", "ETRN ",
		"Warning: ", "exim ", "ident connection ", "too many ", "ignoring AUTH=", "smtp_", "daemon: ", "Connection from ") {
		return
	}
	if hasBracketedAddr(r.text) {
		p.puzzled(r)
	}
}

// eximPeer is the client of an SMTP session.
type eximPeer struct {
	addr    netip.Addr
	service string
	port    uint32 // 0: unknown (log_selector = +incoming_port)
	ident   bool   // a name that the client's host gave stands behind (RFC 1413)
	rest    []byte // what stands behind the client
}
