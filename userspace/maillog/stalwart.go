package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Stalwart, its text log as a file or from standard output. Formats are those
// of crates/trc (serializers/text.rs, event), crates/common/src/auth and
// crates/smtp/src/inbound, 0.9 to 0.16:
//
//	STAMP LEVEL DESCRIPTION (EVENT) KEY = VALUE, KEY = VALUE, …
//
// The keys of the connection come first (listenerId, localPort, remoteIp,
// remotePort), then those of the event. In strings, which clients write, only
// line ends, tabs and backslashes are escaped, so that a string goes on as
// the line does. But no string stands before remoteIp except the listener's.
//
// Failures are told at the level debug unless that of auth.failed is raised.
// Stalwart's own journal tracer puts the values into fields of the journal,
// where the text has none: use the log or standard output.

const stalwartServer = "stalwart"

// stalwartText returns what stands behind the level, nil if none does.
func stalwartText(b []byte) []byte {
	for _, level := range [...]string{"INFO ", "WARN ", "DEBUG ", "ERROR ", "TRACE "} {
		if rest, ok := skipWord(b, level); ok {
			return rest
		}
	}
	return nil
}

func (p *Parser) stalwart(r *record, out []policy.Event) []policy.Event {
	text := r.text
	if n := stampLen(text); n > 0 { // from standard output
		if text = stalwartText(text[n+1:]); text == nil {
			return out
		}
	}
	i := index(text, " (")
	if i < 0 {
		return out
	}
	text = text[i+2:]
	if i = index(text, ") "); i < 0 {
		return out
	}
	name, keys := text[:i], text[i+2:]
	if hasPrefix(name, "security.authentication-") {
		return p.stalwartFailure(r, keys, out) // Stalwart's own measure
	}
	switch string(name) {
	case "auth.failed":
		return p.stalwartFailure(r, keys, out)
	case "auth.too-many-attempts":
		// SMTP has told of the failure itself before. The others tell here.
		if c := readStalwartClient(keys); hasPrefix(c.rest, causedByFailure) {
			return p.stalwartFailure(r, keys, out)
		}
	case "auth.success":
		return p.stalwartLogin(r, keys, out)
	case "queue.authenticated-message-queued", "queue.queue-message-authenticated": // since 0.16, and before
		return p.stalwartMessage(r, keys, out)
	case "smtp.mailbox-does-not-exist":
		return p.stalwartTell(r, keys, stalwartUnknownRecipient, policy.UnknownRecipient, out)
	case "smtp.connection-start", "imap.connection-start", "pop3.connection-start", "manage-sieve.connection-start":
		return p.stalwartTell(r, keys, stalwartConnect, policy.Connection, out)
	}
	return out
}

// stalwartTell emits an event that needs nothing but the client.
func (p *Parser) stalwartTell(r *record, keys []byte, found pattern, k policy.Kind, out []policy.Event) []policy.Event {
	c := readStalwartClient(keys)
	if !c.addr.IsValid() {
		p.puzzled(r)
		return out
	}
	p.found(found)
	return p.emit(r, policy.Event{Kind: k, Source: c.addr, Service: c.service, Server: stalwartServer}, out)
}

// stalwartFailure reads a failure, or the measure that takes its place. Without
// an account no credentials were sent.
func (p *Parser) stalwartFailure(r *record, keys []byte, out []policy.Event) []policy.Event {
	c := readStalwartClient(keys)
	user := stalwartUser(c.rest)
	if len(user) == 0 {
		return out
	}
	if !c.addr.IsValid() {
		p.puzzled(r)
		return out
	}
	p.found(stalwartLoginFailure)
	return p.emit(r, policy.Event{
		Kind: policy.AuthFailure, Source: c.addr, User: p.users.name(user), Service: c.service, Server: stalwartServer,
	}, out)
}

func (p *Parser) stalwartLogin(r *record, keys []byte, out []policy.Event) []policy.Event {
	c := readStalwartClient(keys)
	user := stalwartUser(c.rest)
	if !c.addr.IsValid() || len(user) == 0 {
		p.puzzled(r)
		return out
	}
	p.found(stalwartLogin)
	name := p.users.name(user)
	if c.session != 0 {
		p.web.Stalwart.put(c.session.key(r), name)
	}
	return p.emit(r, policy.Event{
		Kind: policy.AuthSuccess, Source: c.addr, User: name, Service: c.service, Server: stalwartServer,
	}, out)
}

// stalwartMessage reads "queueId = N, from = "SENDER", to = ["RECIPIENT", …],
// size = N, …". Whose it is the session tells. Senders and recipients that
// hold quotes can make the list look longer, never shorter.
func (p *Parser) stalwartMessage(r *record, keys []byte, out []policy.Event) []policy.Event {
	c := readStalwartClient(keys)
	list := index(c.rest, ", to = [\"")
	end := bytes.LastIndex(c.rest, []byte("\"], size = "))
	if !c.addr.IsValid() || list < 0 || end < list {
		p.puzzled(r)
		return out
	}
	user := ""
	if name := p.web.Stalwart.get(c.session.key(r)); name != nil {
		user = *name
	}
	p.found(stalwartMessage)
	return p.emit(r, policy.Event{
		Kind: policy.Message, Source: c.addr, User: user, Service: c.service, Server: stalwartServer,
		Recipients: 1 + bytes.Count(c.rest[list:end], []byte("\", \"")),
	}, out)
}

// stalwartClient is the client of a connection.
type stalwartClient struct {
	addr    netip.Addr // invalid if not known
	service string
	session stalwartSession
	rest    []byte // the keys from the first on that a client can write
}

// stalwartSession is a connection, hashed.
type stalwartSession hash

func (s stalwartSession) key(r *record) uint64 { return uint64(hash(s).bytes(r.host)) }

// readStalwartClient reads the keys that only Stalwart writes. It names an
// address twice where an event has one of its own. They differ where a client
// of the web interface stands behind a proxy, and the second is the first
// element of X-Forwarded-For, which clients write: then none is taken.
func readStalwartClient(b []byte) (c stalwartClient) {
	h := newHash
	var other bool
	see := func(addr netip.Addr) {
		other = other || c.addr.IsValid() && c.addr != addr
		c.addr = addr
	}
	for {
		i := index(b, " = ")
		if i < 0 {
			break
		}
		value := b[i+len(" = "):]
		n := 0
		switch string(b[:i]) {
		case "listenerId":
			if len(value) > 1 && value[0] == '"' {
				n = 2 + bytes.IndexByte(value[1:], '"')
			}
		case "localPort":
			_, n = leadingUint(value)
			if c.service = portService(value[:n]); c.service == "" && isWebPort(value[:n]) {
				c.service = web
			}
			h = h.bytes(value[:n])
		case "remotePort":
			_, n = leadingUint(value)
			h = h.bytes(value[:n])
			c.session = stalwartSession(h)
		case "remoteIp":
			var addr netip.Addr
			if addr, n = leadingAddr(value); n > 0 {
				see(addr)
				h = h.bytes(value[:n])
			}
		}
		next, ok := skipWord(value[n:], ", ")
		if n < 1 || !ok && n < len(value) {
			break
		}
		b = next
	}
	c.rest = b
	// At the end of the line no string can stand without its quote.
	if i := bytes.LastIndex(b, []byte(", remoteIp = ")); i >= 0 {
		last := b[i+len(", remoteIp = "):]
		if addr, n := leadingAddr(last); n > 0 && n == len(last) {
			see(addr)
		}
	}
	if other {
		c.addr = netip.Addr{}
	}
	return c
}

func isWebPort(port []byte) bool {
	switch string(port) {
	case "80", "443", "8080":
		return true
	}
	return false
}

const causedByFailure = "causedBy = Authentication failed (auth.failed) { "

// stalwartUser reads the account of "[causedBy = … { ][remoteIp = …, ]accountName = "USER", …".
func stalwartUser(b []byte) []byte {
	if rest, ok := skipWord(b, causedByFailure); ok {
		b = readStalwartClient(rest).rest
	}
	b, ok := skipWord(b, "accountName = \"")
	if !ok {
		return nil
	}
	for i, c := range b {
		if rest := b[i+1:]; c == '"' && (len(rest) == 0 || hasPrefix(rest, ", ") || hasPrefix(rest, " }")) {
			return b[:i]
		}
	}
	return nil
}
