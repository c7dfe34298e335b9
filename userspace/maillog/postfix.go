package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Postfix, from 3.4 on. Formats are those of src/smtpd/smtpd.c,
// smtpd_sasl_glue.c, smtpd_check.c and src/global/opened.c.
//
// Postfix writes a client as NAME[ADDRESS], or NAME[ADDRESS]:PORT with
// smtpd_client_port_logging. NAME has passed valid_hostname(): letters,
// digits, "-", "_" and "." only, or it is "unknown". So the first bracket
// behind the server's own words is the server's own, and what a client says
// (HELO, addresses, SASL mechanism and user) always stands behind it.

const (
	postfixServer = "postfix"
	smtp          = "smtp"
	submission    = "submission"
)

// queued is a message from the moment at which smtpd begins to receive it
// until it leaves the queue.
type queued struct {
	Source   netip.Addr
	User     string
	Service  string
	Instance hash // of Postfix, by its syslog name
	Counted  bool // an event has told of it
}

// session is an SMTP session with a user.
type session struct {
	Source netip.Addr
	User   string
}

// postfixReach is how many seconds before Postfix's own line the SASL server
// may have told of a failure: Dovecot delays its answer (auth_failure_delay,
// and a penalty of up to 17 seconds for sources that fail repeatedly).
const postfixReach = 30

func (p *Parser) smtpd(r *record, out []policy.Event) []policy.Event {
	switch text := r.text; text[0] {
	case 'c':
		if rest, ok := skipWord(text, "connect from "); ok {
			return p.smtpdConnect(r, rest, out)
		}
	case 'd':
		// "auth=0/1" at the end repeats a failure that has been told.
		if _, ok := skipWord(text, "disconnect from "); ok {
			p.sessions.remove(sessionKey(r))
			return out
		}
	case 'w':
		if rest, ok := skipWord(text, "warning: "); ok {
			return p.smtpdWarning(r, rest, out)
		}
	}
	id, rest := queueID(r.text)
	if id == nil {
		p.smtpdOther(r)
		return out
	}
	if client, ok := skipWord(rest, "client="); ok {
		return p.smtpdClient(r, id, client, out)
	}
	if reject, ok := skipWord(rest, "reject: RCPT from "); ok {
		return p.smtpdReject(r, reject, out)
	}
	return out
}

func (p *Parser) smtpdConnect(r *record, rest []byte, out []policy.Event) []policy.Event {
	source, rest, ok := client(rest)
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
		Kind: policy.Connection, Source: source, Service: smtpdService(r.program), Server: postfixServer,
	}, out)
}

// smtpdWarning reads
//
//	CLIENT: SASL METHOD authentication failed: REASON[, sasl_username=USER]
//
// The user is told since 3.9, and since Debian's 3.7.11, as "(unavailable)" if
// unknown.
func (p *Parser) smtpdWarning(r *record, rest []byte, out []policy.Event) []policy.Event {
	source, rest, ok := client(rest)
	if !ok {
		p.smtpdOther(r)
		return out
	}
	rest, ok = skipWord(rest, ": SASL ")
	if !ok {
		p.puzzled(r)
		return out
	}
	// METHOD is what the client sent. Real ones are letters, digits, "-" and
	// "_" (RFC 4422 section 3.1); for others Postfix has but one answer.
	n := 0
	for n < len(rest) && (isAlnum(rest[n]) || rest[n] == '-' || rest[n] == '_') {
		n++
	}
	var user []byte
	reason, ok := skipWord(rest[n:], " authentication failed:")
	switch {
	case ok:
		reason, user = cutUser(trimStart(reason))
		if isServerFault(reason) || string(reason) == unjudged {
			return out
		}
	case index(rest[n:], " authentication failed: Invalid authentication mechanism") < 0:
		return out // "authentication aborted": the client gave up
	}
	p.found(postfixSASLFailure)
	if !source.IsValid() {
		return out
	}
	return p.emitFailures(r, policy.Event{
		Kind: policy.AuthFailure, Source: source, User: p.users.name(user),
		Service: smtpdService(r.program), Server: postfixServer,
	}, postfixReach, 1, out)
}

// unjudged is what Postfix says where Dovecot gave no reason and was told no
// user: it could not be reached, or the client's answer made no sense.
const unjudged = "(reason unavailable), sasl_username=(unavailable)"

// cutUser takes the user off a failure's reason. The reason is the SASL
// server's text, except where it quotes the mechanism, and then no user is
// known; so the first ", sasl_username=" is Postfix's own.
func cutUser(reason []byte) (_, user []byte) {
	if _, ok := skipWord(reason, "Invalid authentication mechanism: "); ok {
		return reason, nil
	}
	const key = ", sasl_username="
	i := index(reason, key)
	if i < 0 {
		return reason, nil
	}
	user = reason[i+len(key):]
	if string(reason) == unjudged {
		return reason, nil
	}
	if string(user) == "(unavailable)" {
		user = nil
	}
	return reason[:i], user
}

// isServerFault reports whether the login was never judged: the SASL server
// is down or in trouble, which is nobody's offence, or the exchange broke.
func isServerFault(reason []byte) bool {
	if len(reason) == 0 {
		return false
	}
	switch reason[0] {
	case 'A':
		return hasPrefix(reason, "Authentication backend error")
	case 'C':
		return hasPrefix(reason, "Connection lost to authentication server") ||
			hasPrefix(reason, "Can't connect to authentication server")
	case 'T':
		return hasPrefix(reason, "Temporary authentication failure") ||
			hasPrefix(reason, "Temporary internal failure")
	case 'b': // Cyrus SASL_BADPROT: the client cancelled
		return hasPrefix(reason, "bad protocol / cancel")
	case 'g': // Cyrus SASL_FAIL: saslauthd or a database cannot be reached
		return hasPrefix(reason, "generic failure")
	case 'n': // Cyrus SASL_NOMEM
		return hasPrefix(reason, "no memory available")
	case 'r': // Cyrus SASL_UNAVAIL
		return hasPrefix(reason, "remote authentication server unavailable")
	}
	return false
}

// smtpdClient reads
//
//	QUEUEID: client=CLIENT[, sasl_method=…][, sasl_username=…][, sasl_sender=…][, orig_queue_id=…][, orig_client=…]
func (p *Parser) smtpdClient(r *record, id, rest []byte, out []policy.Event) []policy.Event {
	source, rest, ok := client(rest)
	if !ok || len(rest) > 0 && rest[0] != ',' {
		p.puzzled(r)
		return out
	}
	p.found(postfixClient)
	var user string
	if i := index(rest, ", sasl_username="); i >= 0 {
		name := rest[i+len(", sasl_username="):]
		for _, next := range [...]string{", sasl_sender=", ", orig_queue_id=", ", orig_client="} {
			if end := index(name, next); end >= 0 {
				name = name[:end]
			}
		}
		user = p.users.name(name)
	}
	if !source.IsValid() {
		return out
	}
	service := smtpdService(r.program)
	// With orig_queue_id, a content filter hands back a message that has
	// been counted under its first queue ID. Behind a user it counts for
	// nothing: sasl_sender is the client's (RFC 4954 section 5, AUTH=).
	if !hasPrefix(rest, ", orig_queue_id=") && string(id) != "NOQUEUE" {
		p.remember(r, id, queued{Source: source, User: user, Service: service, Instance: instanceOf(r.program)})
	}
	if user == "" || !p.isNewLogin(r, session{source, user}) {
		return out
	}
	return p.emitSuccess(r, policy.Event{
		Kind: policy.AuthSuccess, Source: source, User: user, Service: service, Server: postfixServer,
	}, out)
}

// isNewLogin reports whether the session has not been told of yet: a client
// that sends ten messages has logged in once.
func (p *Parser) isNewLogin(r *record, s session) bool {
	if r.pid == 0 {
		return true
	}
	key := sessionKey(r)
	if known := p.sessions.get(key); known != nil && *known == s {
		return false
	}
	p.sessions.put(key, s)
	return true
}

// smtpdReject reads
//
//	QUEUEID: reject: RCPT from CLIENT: 550 5.1.1 <RECIPIENT>: Recipient address rejected: User unknown…; from=…
//
// The reply's code stands before the recipient, who is the client's choice.
func (p *Parser) smtpdReject(r *record, rest []byte, out []policy.Event) []policy.Event {
	source, rest, ok := client(rest)
	if !ok {
		p.puzzled(r)
		return out
	}
	rest, ok = skipWord(rest, ": ")
	if !ok || len(rest) < len("550 5.1.1 <") || (rest[0] != '5' && rest[0] != '4') || string(rest[5:11]) != ".1.1 <" || rest[4] != rest[0] {
		return out
	}
	const rejected = ">: Recipient address rejected: "
	i := index(rest, rejected)
	if i < 0 {
		return out
	}
	why := rest[i+len(rejected):]
	if !hasPrefix(why, "User unknown") && !(rest[0] == '5' && hasPrefix(why, "undeliverable address")) {
		return out
	}
	p.found(postfixUnknownRecipient)
	if !source.IsValid() {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.UnknownRecipient, Source: source, Service: smtpdService(r.program), Server: postfixServer,
	}, out)
}

// qmgr reads
//
//	QUEUEID: from=<SENDER>, size=N, nrcpt=N (queue active)
//
// from its end, for the sender is the client's choice. A message that is
// tried again becomes active again; it counted when it was accepted.
func (p *Parser) qmgr(r *record, out []policy.Event) []policy.Event {
	head, ok := bytes.CutSuffix(r.text, []byte(" (queue active)"))
	if !ok {
		if id, what := queueID(r.text); id != nil && string(what) == "removed" {
			p.forget(r, id)
		}
		return out
	}
	id, _ := queueID(head)
	n := len(head)
	for n > 0 && isDigit(head[n-1]) {
		n--
	}
	recipients, ok := digits(head[n:])
	if id == nil || !ok || recipients > 1e6 || !bytes.HasSuffix(head[:n], []byte(", nrcpt=")) {
		return out
	}
	m := p.recall(r, id)
	if m == nil || m.Counted {
		return out
	}
	m.Counted = true
	p.found(postfixQueueActive)
	return p.emit(r, policy.Event{
		Kind: policy.Message, Source: m.Source, User: m.User, Service: m.Service,
		Server: postfixServer, Recipients: recipients,
	}, out)
}

// smtpdOther counts a line that no pattern knows, if it names a client and is
// none of those that are known to say nothing.
func (p *Parser) smtpdOther(r *record) {
	for _, known := range [...]string{
		"lost connection after ", "timeout after ", "too many errors after ", "improper command pipelining after ",
		"SSL_accept error from ", "setting up TLS connection from ", "Anonymous TLS ", "Trusted TLS ", "Untrusted TLS ", "Verified TLS ",
		"warning: hostname ", "warning: numeric hostname", "warning: non-SMTP command from ", "warning: Illegal address syntax from ",
		"warning: Connection ", "warning: Message ", "warning: Recipient ", "warning: New TLS ", "warning: AUTH command rate ",
		"warning: malformed ", "warning: address not listed ", "warning: milter ", "warning: SASL ", "warning: TLS library problem",
		"proxy-accept: ", "proxy-reject: ", "generic_checks: ", "initializing ", "SSL3 alert ",
	} {
		if hasPrefix(r.text, known) {
			return
		}
	}
	for i, c := range r.text {
		if c != '[' {
			continue
		}
		if _, n := leadingAddr(r.text[i+1:]); n > 0 && i+1+n < len(r.text) && r.text[i+1+n] == ']' {
			p.puzzled(r)
			return
		}
	}
}
