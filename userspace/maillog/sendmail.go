package maillog

import (
	"bytes"

	"weir/policy"
)

// Sendmail, from 8.12 on. Formats are those of sendmail/srvrsmtp.c, headers.c
// (logsender), parseaddr.c (rscheck), err.c, main.c and conf.c (sm_syslog);
// sendmailtext.go reads their parts.
//
// A line has the ID of the envelope that the session is filling, which changes
// with each message. What is said of an envelope before the client is named
// waits for the line that names it: a recipient that is refused, a login that
// fails where the client's name is longer than the line has room for.
//
// Errors are logged as the client's address and "... REASON", with nothing of
// the server's before the address. So every line here is told by its end, too.

const sendmailServer = "sendmail"

// sendmailEnvelope is what is known of an envelope.
type sendmailEnvelope struct {
	User    string // of the login that was refused last
	Refused int    // logins that were refused, by a client yet unnamed
	Judged  int    // lines that told of a login's failure
	Unknown int    // recipients that do not exist
	Broken  bool   // the message did not arrive whole

	// Of a "from=" that is longer than a line.
	Next       int // the part that is to come; 0: none
	Recipients int
	Message    bool
}

func (p *Parser) sendmail(r *record, out []policy.Event) []policy.Event {
	id, part, text := sendmailID(r.text)
	if len(text) == 0 {
		return out
	}
	if id == nil || string(id) == "NOQUEUE" {
		if rest, ok := skipWord(text, "AUTH=server, relay="); ok {
			return p.sendmailLogin(r, rest, out)
		}
		if rest, ok := skipWord(text, "connect from "); ok && id != nil {
			return p.sendmailConnect(r, rest, out)
		}
		return out
	}
	if hasPrefix(text, "to=") { // most of a log
		return out
	}
	key := idKey(r, id)
	if part > 1 {
		return p.sendmailPart(r, key, part, text, out)
	}
	switch text[0] {
	case 'A':
		if rest, ok := skipWord(text, "AUTH failure ("); ok {
			return p.sendmailRefusal(r, key, part, rest, out)
		}
	case 'c':
		// What a client names so ends in "... REASON".
		if hasPrefix(text, "collect: ") && index(text, "...") < 0 {
			p.envelope(key).Broken = true
			return out
		}
	case 'f':
		if hasPrefix(text, "from=") {
			p.envelope(key).Next = 1
			return p.sendmailPart(r, key, 1, text, out)
		}
	}
	return p.sendmailEnding(r, key, text, out)
}

// envelope returns the envelope of a key, to be changed in place.
func (p *Parser) envelope(key uint64) *sendmailEnvelope {
	if e := p.pending.get(key); e != nil {
		return e
	}
	p.pending.put(key, sendmailEnvelope{})
	return p.pending.get(key)
}

// sendmailConnect reads the line of LogLevel 11 and above. It begins a
// process, and so a session.
func (p *Parser) sendmailConnect(r *record, rest []byte, out []policy.Event) []policy.Event {
	addr, rest, ok := sendmailClient(rest)
	if !ok || len(rest) > 0 {
		return out
	}
	p.found(sendmailConnect)
	p.sessions.remove(sessionKey(r))
	return p.emit(r, policy.Event{Kind: policy.Connection, Source: addr, Service: smtp, Server: sendmailServer}, out)
}

// sendmailLogin reads
//
//	CLIENT, authid=USER, mech=MECHANISM, bits=N
//
// The process is the session, so that its messages are the user's. It writes
// nothing when it ends, but the next process of its number has another source,
// or it has seen "connect from".
func (p *Parser) sendmailLogin(r *record, rest []byte, out []policy.Event) []policy.Event {
	addr, rest, ok := sendmailClient(rest)
	name, isLogin := skipWord(rest, ", authid=")
	end := bytes.LastIndex(name, []byte(", mech="))
	if !ok || !isLogin || end < 0 {
		p.puzzled(r)
		return out
	}
	p.found(sendmailLogin)
	var buffer [maxUserLen]byte
	who := session{Source: addr, User: p.users.name(fromXText(name[:end], buffer[:0]))}
	if r.pid != 0 {
		p.sessions.put(sessionKey(r), who)
	}
	return p.emit(r, policy.Event{
		Kind: policy.AuthSuccess, Source: who.Source, User: who.User, Service: smtp, Server: sendmailServer,
	}, out)
}

// sendmailRefusal reads, whole or the first part of it,
//
//	MECHANISM): ERROR (NUMBER) DETAIL[, user=USER][, relay=CLIENT]
//
// where USER (since 8.16), and with some mechanisms DETAIL, is the client's,
// and CLIENT is cut to 100 bytes.
func (p *Parser) sendmailRefusal(r *record, key uint64, part int, rest []byte, out []policy.Event) []policy.Event {
	mechanism, reason, ok := bytes.Cut(rest, []byte("): "))
	if !ok {
		return out
	}
	e := p.envelope(key)
	e.Judged++
	if !isSendmailRefusal(reason) {
		return out
	}
	p.found(sendmailAuthFailure)
	i := bytes.LastIndex(reason, []byte(", relay="))
	if part == 1 || i < 0 {
		i = len(reason)
	}
	e.User = ""
	if user := index(reason[:i], ", user="); user >= 0 && part == 0 {
		e.User = p.users.name(sendmailUser(mechanism, reason[user+len(", user="):i]))
	}
	if isPlainMechanism(mechanism) {
		lent, judged := p.saslLends(r, e.User)
		if !judged {
			return out
		}
		e.User = lent
	}
	e.Refused++
	if i == len(reason) {
		return out
	}
	client := reason[i+len(", relay="):]
	addr, rest, ok := sendmailClient(client)
	if !ok || len(rest) > 0 || len(client) >= 100 {
		if len(client) < 100 {
			e.Refused--
			p.puzzled(r)
		}
		return out
	}
	return p.sendmailNamed(r, key, policy.Event{Source: addr, Service: smtp}, out)
}

// sendmailPart reads a part of
//
//	from=SENDER, size=N, class=N, nrcpts=N[, msgid=ID][, bodytype=TYPE], proto=PROTOCOL, daemon=NAME, relay=CLIENT
//
// which is one, or several if there are bytes in SENDER and ID that the log
// shows as four. Both are the client's: the last relay is the server's, and
// the number of recipients is the greatest that the line has, for no client
// gains by a greater. Only a message that has arrived has an ID, and one has
// it always.
func (p *Parser) sendmailPart(r *record, key uint64, part int, text []byte, out []policy.Event) []policy.Event {
	m := p.pending.get(key)
	if m == nil || m.Next != part {
		return out
	}
	m.Recipients = max(m.Recipients, greatest(text, "nrcpts="))
	m.Message = m.Message || index(text, "msgid=") >= 0
	if bytes.HasSuffix(text, []byte(" ...")) {
		m.Next++
		return out
	}
	isMessage, recipients := m.Message && !m.Broken && m.Recipients > 0, m.Recipients
	defer p.pending.remove(key)
	i := bytes.LastIndex(text, []byte(", relay="))
	if i < 0 {
		return out
	}
	addr, rest, ok := sendmailClient(text[i+len(", relay="):])
	if !ok || len(rest) > 0 {
		return out // from this host: relay=root@localhost
	}
	p.found(sendmailMessage)
	e := policy.Event{Source: addr, Service: sendmailService(text[:i])}
	out = p.sendmailNamed(r, key, e, out)
	if !isMessage {
		return out
	}
	e.Kind, e.Server, e.Recipients = policy.Message, sendmailServer, recipients
	if who := p.sessions.get(sessionKey(r)); who != nil && who.Source == addr && r.pid != 0 {
		e.User = who.User
	}
	return p.emit(r, e, out)
}

// sendmailEnding reads the lines that are known by their end alone:
//
//	ADDRESS... User unknown
//	ruleset=check_rcpt, arg1=ADDRESS, relay=CLIENT, reject=550 5.1.1 ADDRESS... User unknown
//	CLIENT: possible SMTP attack: command=AUTH, count=N
//	CLIENT did not issue MAIL/EXPN/VRFY/ETRN during connection to DAEMON
//
// A recipient's line does not say reliably who the client is, but "from="
// follows. The third is all that versions before 8.16 tell of failing logins
// at the usual LogLevel: the count includes one that is not judged yet.
func (p *Parser) sendmailEnding(r *record, key uint64, text []byte, out []policy.Event) []policy.Event {
	if bytes.HasSuffix(text, []byte("... User unknown")) {
		if hasPrefix(text, "ruleset=") && index(text, ", reject=550 5.1.1 ") < 0 || hasPrefix(text, "<-- ") {
			return out
		}
		p.found(sendmailUnknownRecipient)
		p.envelope(key).Unknown++
		return out
	}
	addr, rest, ok := sendmailClient(text)
	if !ok {
		return out
	}
	if count, ok := skipWord(rest, ": possible SMTP attack: command=AUTH, count="); ok {
		n, ok := digits(count)
		if !ok || n > 1e6 {
			return out
		}
		p.found(sendmailAttack)
		if e := p.envelope(key); e.Judged == 0 {
			e.Refused, e.Judged = n-1, n-1
		}
		return p.sendmailNamed(r, key, policy.Event{Source: addr, Service: smtp}, out)
	}
	if daemon, ok := skipWord(rest, " did not issue MAIL/EXPN/VRFY/ETRN during connection to "); ok && bytes.IndexByte(daemon, ' ') < 0 {
		p.found(sendmailNoMail)
		out = p.sendmailNamed(r, key, policy.Event{Source: addr, Service: daemonService(daemon)}, out)
		p.pending.remove(key)
	}
	return out
}

// sendmailNamed appends what has waited for the client's name. e is an event
// of the client's without a kind.
func (p *Parser) sendmailNamed(r *record, key uint64, e policy.Event, out []policy.Event) []policy.Event {
	waiting := p.pending.get(key)
	if waiting == nil {
		return out
	}
	e.Server = sendmailServer
	for range min(waiting.Unknown, maxRepeat) {
		e.Kind = policy.UnknownRecipient
		out = p.emit(r, e, out)
	}
	e.Kind, e.User = policy.AuthFailure, waiting.User
	for range min(waiting.Refused, maxRepeat) {
		out = p.emit(r, e, out)
	}
	waiting.Unknown, waiting.Refused, waiting.User = 0, 0, ""
	return out
}
