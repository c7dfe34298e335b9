package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// queued is a message that smtpd has begun to receive. It is kept until the
// queue manager removes it.
type queued struct {
	Source   netip.Addr
	User     string
	Service  string
	Instance hash // of Postfix, by its syslog name

	Counted    bool // the queue manager has told of it
	Proxied    bool // whose it is, the smtpd before the filter will tell
	Recipients int  // of a proxied message that has become active
}

// smtpdClient reads
//
//	QUEUEID: client=CLIENT[, sasl_method=…][, sasl_username=…][, sasl_sender=…][, orig_queue_id=…][, orig_client=…]
//
// which the first recipient calls forth that is not refused. A login is told
// here and nowhere else.
func (p *Parser) smtpdClient(r *record, id, rest []byte, out []policy.Event) []policy.Event {
	source, rest, ok := readPostfixClient(rest)
	if !ok || len(rest) > 0 && rest[0] != ',' {
		p.puzzled(r)
		return out
	}
	p.found(postfixClient)
	if !source.IsValid() {
		return out
	}
	user := p.users.name(loginName(rest))
	service := postfixService(r.program)
	m := queued{Source: source, User: user, Service: service, Instance: instanceOf(r.program)}
	switch {
	case string(id) == "NOQUEUE":
		// smtpd_proxy_filter: the message gets its ID behind the filter.
		if user == "" {
			p.isNewLogin(r, session{Source: source})
		}
	case user != "":
		// What looks like XFORWARD behind a user may be of its name.
		p.remember(r, id, m)
	case hasPrefix(rest, ", orig_queue_id="):
		// A content filter hands back a message that has been counted under
		// its first ID.
	case hasPrefix(rest, ", orig_client="):
		m.Proxied = true
		p.remember(r, id, m)
	case source.IsLoopback():
		// So does one that does not speak XFORWARD; and a host's own mail is
		// nothing that weir could hold back.
	default:
		p.remember(r, id, m)
	}
	if user == "" || !p.isNewLogin(r, session{Source: source, User: user}) {
		return out
	}
	return p.emitSuccess(r, policy.Event{
		Kind: policy.AuthSuccess, Source: source, User: user, Service: service, Server: postfixServer,
	}, out)
}

// loginName returns the user who is named behind a client, or nil. Who logs
// in by ANONYMOUS is nobody (RFC 4505). The name may contain what looks like
// another field, and what follows may be one: then it is cut.
func loginName(rest []byte) []byte {
	method, ok := skipWord(rest, ", sasl_method=")
	n := mechanismLen(method)
	name, named := skipWord(method[n:], ", sasl_username=")
	if !ok || !named || bytes.EqualFold(method[:n], []byte("ANONYMOUS")) {
		return nil
	}
	for _, next := range [...]string{", sasl_sender=", ", orig_queue_id=", ", orig_client="} {
		if end := index(name, next); end >= 0 {
			name = name[:end]
		}
	}
	return name
}

// isNewLogin notes whose session a process serves, and reports whether that
// is news: a client that sends ten messages has logged in once.
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

// smtpdProxyAccept reads what the smtpd before a filter writes at the end of
// a message (smtpd_proxy_filter):
//
//	proxy-accept: END-OF-MESSAGE: REPLY; from=…
//
// REPLY is that of the filter, which ends with that of the smtpd behind it,
// "queued as QUEUEID". The queue manager may have told of the ID already.
func (p *Parser) smtpdProxyAccept(r *record, rest []byte, out []policy.Event) []policy.Event {
	const key = "queued as "
	rest, _, _ = bytes.Cut(rest, []byte(";"))
	i := index(rest, key)
	if i < 0 || !hasPrefix(rest, "250 ") {
		return out
	}
	id := rest[i+len(key):]
	n := leadingAlnum(id)
	p.found(postfixProxyAccept)
	m, s := p.recall(r, id[:n]), p.sessions.get(sessionKey(r))
	if m == nil || !m.Proxied || s == nil || !s.Source.IsValid() {
		return out
	}
	m.Source, m.User, m.Service, m.Proxied = s.Source, s.User, postfixService(r.program), false
	if m.Recipients == 0 {
		return out
	}
	return p.emitQueued(r, id[:n], m, m.Recipients, out)
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
	p.found(postfixQueueActive)
	if m.Proxied {
		m.Recipients = recipients
		return out
	}
	return p.emitQueued(r, id, m, recipients, out)
}

func (p *Parser) emitQueued(r *record, id []byte, m *queued, recipients int, out []policy.Event) []policy.Event {
	m.Counted = true
	if t, ok := p.when(r); ok && p.wasRequested(t.Unix(), id, m.Source, m.User) {
		return out
	}
	return p.emit(r, policy.Event{
		Kind: policy.Message, Source: m.Source, User: m.User, Service: m.Service,
		Server: postfixServer, Recipients: recipients,
	}, out)
}

// Messages are kept by host and queue ID. The instance decides only where two
// have the same ID at once, because a service may log under a name of its
// own ("postfix-submission/smtpd") while its queue manager does not.

func (p *Parser) remember(r *record, id []byte, m queued) {
	plain := newHash.bytes(r.host).bytes(id)
	if other := p.queue.get(uint64(plain)); other != nil && other.Instance != m.Instance {
		p.queue.put(uint64(plain.uint(uint32(m.Instance))), m)
		return
	}
	p.queue.put(uint64(plain), m)
}

// recall returns the message with an ID, as any program of its instance may
// name it, or nil. It may be changed in place until the next is remembered.
func (p *Parser) recall(r *record, id []byte) *queued {
	return p.queue.get(p.messageKey(r, id))
}

func (p *Parser) forget(r *record, id []byte) { p.queue.remove(p.messageKey(r, id)) }

func (p *Parser) messageKey(r *record, id []byte) uint64 {
	plain := newHash.bytes(r.host).bytes(id)
	if own := uint64(plain.uint(uint32(instanceOf(r.program)))); p.queue.get(own) != nil {
		return own
	}
	return uint64(plain)
}
