package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Courier's mailbox servers, courier-imap 4 and 5. Formats are those of
// imap/imaplogin.C, imap/pop3login.C, imap/imapd.C and imap/pop3dserver.C:
//
//	Connection, ip=[ADDRESS], port=[N]
//	LOGIN FAILED, user=USER, ip=[ADDRESS], port=[N]
//	LOGIN FAILED, method=METHOD, ip=[ADDRESS], port=[N]
//	LOGIN, user=USER, ip=[ADDRESS], port=[N][, protocol=…][, stls=1]
//
// USER and METHOD are the client's and nothing in them is escaped, so that the
// last place of an address is the right one. "LOGIN FAILED, method=" is
// written as well where the client gave up amid an exchange: nothing tells.
//
// couriermail.go has the mail server.

const courierServer = "courier"

// courierReach is how many seconds before Courier's own line PAM may have told
// of the same failure.
const courierReach = 5

// Of a longer line courierlogger (authlib/liblog/logger.c) writes the first 511
// bytes, without the "INFO: " that they begin with. It takes the next line that
// comes for the rest and drops it, and then writes the rest as if that were a
// line. So a client with a name of a thousand bytes ends one line as it likes
// and writes the next from its first byte to its last. There is no room for a
// third that says anything.
const courierPiece = 511 - len("INFO: ")

// isCourierPiece reports whether r is so long that it may have been torn.
func (p *Parser) isCourierPiece(r *record) bool {
	if len(r.text) < courierPiece {
		return false
	}
	p.courier.Torn.put(programKey(r), true)
	return true
}

// isBehindPiece reports whether r may be the rest of a torn line.
func (p *Parser) isBehindPiece(r *record) bool {
	if p.courier.Torn.empty() {
		return false
	}
	key := programKey(r)
	behind := p.courier.Torn.get(key) != nil
	p.courier.Torn.remove(key)
	return behind
}

// mailbox reads what programs named imapd, pop3d and the like write: Courier's
// or those of Cyrus IMAP.
func (p *Parser) mailbox(r *record, out []policy.Event) []policy.Event {
	if p.isBehindPiece(r) {
		return out
	}
	switch c := r.text[0]; {
	case c == 'b' || c == 'e' || c == 'l':
		return p.cyrus(r, out)
	case p.isCourierPiece(r):
		return out
	case c == 'L':
		return p.courierLogin(r, out)
	case c == 'C':
		if rest, ok := skipWord(r.text, "Connection, ip=["); ok {
			return p.courierConnect(r, courierService(r.program), rest, out)
		}
	case c == 'a':
		p.courierTrouble(r)
	}
	return out
}

// courierService tells the service from the program's name, which is that of
// its start script.
func courierService(program []byte) string {
	switch {
	case hasPrefix(program, "imapd"):
		return "imap"
	case hasPrefix(program, "pop3d"):
		return "pop3"
	case hasPrefix(program, "esmtpd-"): // -ssl, -msa; courieresmtpd serves any port
		return submission
	}
	return smtp
}

// courierConnect reads "ADDRESS], port=[N]" and "ADDRESS],port=[N]".
func (p *Parser) courierConnect(r *record, service string, rest []byte, out []policy.Event) []policy.Event {
	addr, n := leadingAddr(rest)
	if n == 0 || !hasPrefix(rest[n:], "]") {
		p.puzzled(r)
		return out
	}
	p.found(courierConnect)
	return p.emit(r, policy.Event{Kind: policy.Connection, Source: addr, Service: service, Server: courierServer}, out)
}

func (p *Parser) courierLogin(r *record, out []policy.Event) []policy.Event {
	if rest, ok := skipWord(r.text, "LOGIN, user="); ok {
		user, addr, ok := courierClient(rest)
		if !ok {
			p.puzzled(r)
			return out
		}
		p.found(courierLogin)
		p.courier.Trouble.remove(hostKey(r))
		return p.emitLogin(r, policy.Event{
			Kind: policy.AuthSuccess, Source: addr, User: p.users.name(user), Service: courierService(r.program), Server: courierServer,
		}, out)
	}
	rest, ok := skipWord(r.text, "LOGIN FAILED")
	if !ok {
		return out
	}
	words, addr, ok := courierClient(rest)
	if !ok {
		p.puzzled(r)
		return out
	}
	user, _ := skipWord(words, ", user=")
	if len(user) == len(words) {
		user = nil // "method=", or nothing as in old versions
	}
	return p.courierFailure(r, addr, courierService(r.program), user, out)
}

// courierFailure tells of a refused login, if authdaemond was there to refuse.
func (p *Parser) courierFailure(r *record, addr netip.Addr, service string, user []byte, out []policy.Event) []policy.Event {
	t, ok := p.when(r)
	if !ok {
		return out
	}
	if trouble := p.courier.Trouble.get(hostKey(r)); trouble != nil && distance(*trouble, t.Unix()) <= courierOutage {
		return out
	}
	p.found(courierLoginFailure)
	return p.emitFailures(r, policy.Event{
		Kind: policy.AuthFailure, Source: addr, User: p.users.name(user), Service: service, Server: courierServer,
	}, courierReach, 1, out)
}

// courierClient reads "WORDS, ip=[ADDRESS]" and the port and whatever may
// stand behind that.
func courierClient(b []byte) (words []byte, addr netip.Addr, ok bool) {
	const key = ", ip=["
	i := bytes.LastIndex(b, []byte(key))
	if i < 0 {
		return nil, addr, false
	}
	rest := b[i+len(key):]
	addr, n := leadingAddr(rest)
	rest, ok = skipWord(rest[n:], "]")
	if n == 0 || !ok || len(rest) > 0 && !hasPrefix(rest, ", ") {
		return nil, addr, false
	}
	// What was torn while many wrote may go on as another's line.
	if index(b[:i], "INFO: ") >= 0 || index(b[:i], "DEBUG: ") >= 0 {
		return nil, addr, false
	}
	return b[:i], addr, true
}

// courierOutage is for how many seconds nothing is believed of a host whose
// authdaemond was in trouble, unless it shows that it is back.
const courierOutage = 60

// courierTrouble reads what Courier's programs write where authdaemond cannot
// be asked (authlib/authdaemonlib.c), before or after they tell of a failure,
//
//	authdaemon: s_connect() failed: REASON
//	authentication error: REASON
//
// The second is also written if the request itself is not valid, and what is
// in it is the client's choice.
func (p *Parser) courierTrouble(r *record) {
	rest, ok := skipWord(r.text, "authentication error: ")
	if ok && hasPrefix(rest, "Invalid argument") || !ok && !hasPrefix(r.text, "authdaemon: s_connect() failed: ") {
		return
	}
	if t, ok := p.when(r); ok {
		p.courier.Trouble.put(hostKey(r), t.Unix())
	}
}
