package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// OpenSMTPD, from 6.0 on. Formats are those of usr.sbin/smtpd/smtp_session.c:
//
//	SESSION smtp connected address=ADDRESS host=NAME
//	SESSION smtp authentication user=USER result=ok | permfail | tempfail
//	SESSION smtp message msgid=ID size=N nrcpt=N proto=PROTOCOL
//	SESSION smtp failed-command command="COMMAND" result="REPLY"
//	SESSION smtp disconnected reason=REASON
//
// SESSION is 16 hexadecimal digits. Up to 6.5 "address=ADDRESS host=NAME" is
// repeated in each line (in authentication behind the user, who has no spaces:
// strnvis, VIS_WHITE), "message" tells of one recipient, and 6.0 has "event="
// before the verb. ADDRESS is dotted decimal, "[IPV6]", "IPv6:IPV6" up to 6.5,
// or "local". NAME is whatever the DNS says.
//
// No line tells which port the client came to.

const openSMTPDServer = "opensmtpd"

// openSMTPDWho is what one line and those before it tell of a session.
type openSMTPDWho struct {
	key uint64 // of p.sessions
	session
}

func (p *Parser) openSMTPD(r *record, out []policy.Event) []policy.Event {
	id, rest := openSMTPDSession(r.text)
	if id == nil {
		return out
	}
	rest, _ = skipWord(rest, "event=")
	if len(rest) == 0 || rest[0] == 'e' || rest[0] == 't' { // envelope, tls: half of a log
		return out
	}
	who := openSMTPDWho{key: idKey(r, id)}
	if known := p.sessions.get(who.key); known != nil {
		who.session = *known
	}
	switch rest[0] {
	case 'a':
		if rest, ok := skipWord(rest, "authentication user="); ok {
			return p.openSMTPDLogin(r, who, rest, out)
		}
	case 'c':
		if rest, ok := skipWord(rest, "connected "); ok {
			return p.openSMTPDConnect(r, who, rest, out)
		}
		if hasPrefix(rest, "closed ") { // 6.0
			p.sessions.remove(who.key)
		}
	case 'd':
		if hasPrefix(rest, "disconnected ") {
			p.sessions.remove(who.key)
		}
	case 'f':
		if rest, ok := skipWord(rest, "failed-command "); ok {
			return p.openSMTPDRefusal(r, who, rest, out)
		}
	case 'm':
		if rest, ok := skipWord(rest, "message "); ok {
			return p.openSMTPDMessage(r, who, rest, out)
		}
	}
	return out
}

// openSMTPDSession reads "0123456789abcdef smtp " and returns what stands
// behind; nil if b does not begin so.
func openSMTPDSession(b []byte) (id, rest []byte) {
	const digits = 16
	if len(b) < digits {
		return nil, b
	}
	for _, c := range b[:digits] {
		if !isHex(c) {
			return nil, b
		}
	}
	rest, ok := skipWord(b[digits:], " smtp ")
	if !ok {
		return nil, b
	}
	return b[:digits], rest
}

// openSMTPDAddress reads "address=ADDRESS " if b begins with that, and tells
// whether it does.
func openSMTPDAddress(b []byte) (addr netip.Addr, rest []byte, ok bool) {
	rest, ok = skipWord(b, "address=")
	if !ok {
		return addr, b, false
	}
	if v6, bracket := skipWord(rest, "["); bracket {
		a, n := leadingAddr(v6)
		if v6, closed := skipWord(v6[n:], "] "); closed {
			return a, v6, true
		}
		return addr, rest, true
	}
	rest, _ = skipWord(rest, "IPv6:")
	a, n := leadingAddr(rest)
	if next, space := skipWord(rest[n:], " "); space && n > 0 {
		return a, next, true
	}
	return addr, rest, true
}

// at takes the address that a line of an old version repeats.
func (who *openSMTPDWho) at(rest []byte) []byte {
	addr, rest, ok := openSMTPDAddress(rest)
	if ok && addr.IsValid() {
		who.Source = addr
	}
	return rest
}

func (p *Parser) openSMTPDConnect(r *record, who openSMTPDWho, rest []byte, out []policy.Event) []policy.Event {
	if hasPrefix(rest, "address=local ") {
		return out // from this host
	}
	addr, _, _ := openSMTPDAddress(rest)
	if !addr.IsValid() {
		p.puzzled(r)
		return out
	}
	p.found(openSMTPDConnect)
	p.sessions.put(who.key, session{Source: addr})
	return p.emit(r, policy.Event{
		Kind: policy.Connection, Source: addr, Service: smtp, Server: openSMTPDServer,
	}, out)
}

// openSMTPDLogin reads
//
//	USER[ address=ADDRESS host=NAME] result=RESULT
//
// The failed-command with the reply 535 that follows tells of the same
// attempt; tempfail is the server's trouble.
func (p *Parser) openSMTPDLogin(r *record, who openSMTPDWho, rest []byte, out []policy.Event) []policy.Event {
	i := bytes.IndexByte(rest, ' ')
	if i < 0 {
		return out
	}
	name := rest[:i]
	who.at(rest[i+1:])
	e := policy.Event{Source: who.Source, Service: smtp, Server: openSMTPDServer}
	switch {
	case bytes.HasSuffix(rest[i:], []byte(" result=permfail")):
		e.Kind = policy.AuthFailure
	case bytes.HasSuffix(rest[i:], []byte(" result=ok")):
		e.Kind = policy.AuthSuccess
	default:
		return out
	}
	p.found(openSMTPDLogin)
	if !who.Source.IsValid() {
		return out
	}
	e.User = p.users.name(name)
	if e.Kind == policy.AuthSuccess {
		p.sessions.put(who.key, session{Source: who.Source, User: e.User})
	}
	return p.emit(r, e, out)
}

// openSMTPDMessage reads, since 6.6,
//
//	msgid=ID size=N nrcpt=N proto=PROTOCOL
//
// and before that, for each recipient,
//
//	address=ADDRESS host=NAME msgid=ID from=<…> to=<…> size=N ndest=N proto=PROTOCOL
//
// where ndest is how many deliveries the recipient has become.
func (p *Parser) openSMTPDMessage(r *record, who openSMTPDWho, rest []byte, out []policy.Event) []policy.Event {
	recipients := 1
	if !hasPrefix(rest, "address=") {
		i := index(rest, " nrcpt=")
		if i < 0 {
			return out
		}
		n, length := leadingUint(rest[i+len(" nrcpt="):])
		if length == 0 || n > 1e6 {
			return out
		}
		recipients = n
	}
	who.at(rest)
	p.found(openSMTPDMessage)
	if !who.Source.IsValid() {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.Message, Source: who.Source, User: who.User, Service: smtp, Server: openSMTPDServer, Recipients: recipients,
	}, out)
}

// openSMTPDRefusal reads
//
//	[address=ADDRESS host=NAME ]command="RCPT TO:<…>…" result="550 Invalid recipient…"
//
// The command is the client's, with its quotation marks; the last result is
// the server's, for no address that it repeats can have a space. It gives this
// one reply for a user that does not exist and for a domain that is not its own.
func (p *Parser) openSMTPDRefusal(r *record, who openSMTPDWho, rest []byte, out []policy.Event) []policy.Event {
	const result = `" result="`
	rest = who.at(rest)
	if i := index(rest, `command="`); i >= 0 {
		rest = rest[i+len(`command="`):]
	}
	i := bytes.LastIndex(rest, []byte(result))
	if i < 0 || !isRCPT(rest) || !hasPrefix(rest[i+len(result):], "550 Invalid recipient") {
		return out
	}
	p.found(openSMTPDUnknownRecipient)
	if !who.Source.IsValid() {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.UnknownRecipient, Source: who.Source, Service: smtp, Server: openSMTPDServer,
	}, out)
}

// isRCPT reports whether a command is RCPT, in any case.
func isRCPT(b []byte) bool {
	return len(b) > 4 && bytes.EqualFold(b[:4], []byte("RCPT")) && b[4] == ' '
}
