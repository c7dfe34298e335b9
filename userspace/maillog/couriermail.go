package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// Courier's mail server, 0.60 to 1.4. courieresmtpd writes (its source is
// courier/module.esmtp/courieresmtpd.C)
//
//	started,ip=[ADDRESS],port=[N]
//	error,relay=ADDRESS[,port=N][,ident="IDENT"],msg="REPLY",cmd: COMMAND
//	error,relay=ADDRESS[,port=N][,ident=IDENT][,from=<…>][,to=<…>]: REPLY
//
// and courierd (courier/cdmsgq.C, courier/cdmsgq3.C)
//
//	newmsg,id=ID[, auth=USER]: dns; HELO ([NAME ][ADDRESS])
//	started,id=ID,from=<SENDER>,module=NAME,host=NAME,addr=<RECIPIENT>
//	completed,id=ID
//
// Colons and angle brackets within SENDER and RECIPIENT are written as blanks,
// blanks within HELO as underscores, and what is longer than 128 bytes ends in
// three dots.

// courierSMTP reads the lines of courieresmtpd.
func (p *Parser) courierSMTP(r *record, out []policy.Event) []policy.Event {
	if p.isBehindPiece(r) || p.isCourierPiece(r) {
		return out
	}
	switch r.text[0] {
	case 's':
		if rest, ok := skipWord(r.text, "started,ip=["); ok {
			return p.courierConnect(r, courierService(r.program), rest, out)
		}
	case 'e':
		if rest, ok := skipWord(r.text, "error,relay="); ok {
			return p.courierError(r, rest, out)
		}
	case 'a':
		p.courierTrouble(r)
	}
	return out
}

func (p *Parser) courierError(r *record, rest []byte, out []policy.Event) []policy.Event {
	addr, n := leadingAddr(rest)
	if n == 0 || n == len(rest) || rest[n] != ',' && rest[n] != ':' {
		p.puzzled(r)
		return out
	}
	rest = rest[n:]
	if port, ok := skipWord(rest, ",port="); ok {
		_, n := leadingUint(port)
		rest = port[n:]
	}
	if ident, ok := skipWord(rest, `,ident="`); ok {
		rest = ident[max(index(ident, `",msg="`)+1, 0):]
	}
	if reply, ok := skipWord(rest, `,msg="`); ok {
		words, ok := skipWord(reply, `535 Authentication failed.",cmd: AUTH `)
		if !ok {
			return out
		}
		user := courierUser(words)
		if user == nil {
			return out // nothing was asked of authdaemond
		}
		return p.courierFailure(r, addr, courierService(r.program), user, out)
	}
	i := index(rest, ": ")
	if i < 0 {
		return out
	}
	reply, ok := skipWord(rest[i+len(": "):], "550 User ")
	if !ok || index(rest[:i], ",to=<") < 0 || !isCourierUnknown(reply) {
		return out
	}
	p.found(courierUnknownRecipient)
	return p.emit(r, policy.Event{
		Kind: policy.UnknownRecipient, Source: addr, Service: courierService(r.program), Server: courierServer,
	}, out)
}

// isCourierUnknown reads the end of "550 User unknown." and
// "550 User <RECIPIENT> unknown", the recipient perhaps cut.
func isCourierUnknown(b []byte) bool {
	return string(b) == "unknown." ||
		hasPrefix(b, "<") && (bytes.HasSuffix(b, []byte("> unknown")) || bytes.HasSuffix(b, []byte("...")))
}

// courierUser reads "METHOD[ REPLY][ USER]", 80 bytes of it at most. REPLY is
// the first 20 bytes of what the client sent with its command. Where no user
// stands, the exchange came to none.
func courierUser(b []byte) []byte {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return nil
	}
	user := b[i+1:]
	if i = bytes.IndexByte(user, ' '); i > 0 && isBase64(user[:i]) {
		return user[i+1:]
	}
	return user
}

func isBase64(b []byte) bool {
	for _, c := range b {
		if !isAlnum(c) && c != '+' && c != '/' && c != '=' {
			return false
		}
	}
	return true
}

// courierQueue reads the lines of courierd.
func (p *Parser) courierQueue(r *record, out []policy.Event) []policy.Event {
	switch r.text[0] {
	case 'n':
		if rest, ok := skipWord(r.text, "newmsg,id="); ok {
			return p.courierArrival(r, rest, out)
		}
	case 's':
		if rest, ok := skipWord(r.text, "started,id="); ok {
			return p.courierDelivery(r, rest, out)
		}
	case 'c':
		if id, ok := skipWord(r.text, "completed,id="); ok {
			p.courier.Deliveries.Mail.remove(idKey(r, id))
		}
	}
	return out
}

// courierID returns the ID that b begins with: hexadecimal numbers and dots.
func courierID(b []byte) (id, rest []byte) {
	n := 0
	for n < len(b) && (isHex(b[n]) || b[n] == '.') {
		n++
	}
	return b[:n], b[n:]
}

// courierArrival reads the client from the line's end. The message counts for
// one recipient at first, and its deliveries tell of the others.
func (p *Parser) courierArrival(r *record, rest []byte, out []policy.Event) []policy.Event {
	id, rest := courierID(rest)
	const key = ": dns; "
	i := bytes.LastIndex(rest, []byte(key))
	if i < 0 {
		return out // by sendmail on this host, or forwarded by another protocol
	}
	addr, ok := courierMTA(rest[i+len(key):])
	if !ok {
		return out
	}
	user, authenticated := skipWord(rest[:i], ", auth=")
	if !authenticated && i > 0 {
		p.puzzled(r)
		return out
	}
	if !authenticated && addr.IsLoopback() {
		return out // courierd's own, a bounce
	}
	t, known := p.when(r)
	if !known {
		return out
	}
	p.found(courierArrival)
	m := accepted{Source: addr, Service: smtp, Told: 1, Unix: t.Unix()}
	if authenticated {
		m.User = p.users.name(user)
		p.courier.Trouble.remove(hostKey(r))
		out = p.emitLogin(r, policy.Event{
			Kind: policy.AuthSuccess, Source: addr, User: m.User, Service: smtp, Server: courierServer,
		}, out)
	}
	p.courier.Deliveries.Mail.put(idKey(r, id), m)
	return p.emitAccepted(r, &m, 1, courierServer, out)
}

// courierMTA reads "HELO ([NAME ][ADDRESS])", in which neither HELO nor NAME
// has blanks.
func courierMTA(b []byte) (addr netip.Addr, ok bool) {
	i := bytes.IndexByte(b, ' ')
	rest, ok := skipWord(b[i+1:], "(")
	if i < 0 || !ok {
		return addr, false
	}
	if i = bytes.IndexByte(rest, ' '); i >= 0 {
		rest = rest[i+1:]
	}
	rest, ok = skipWord(rest, "[")
	addr, n := leadingAddr(rest)
	return addr, ok && n > 0 && string(rest[n:]) == "])"
}

// courierDelivery reads that a recipient's delivery is begun, for the first
// time or again.
func (p *Parser) courierDelivery(r *record, rest []byte, out []policy.Event) []policy.Event {
	const addr = ",addr=<"
	id, rest := courierID(rest)
	i := bytes.LastIndex(rest, []byte(addr))
	if i < 0 || hasPrefix(rest, ",from=<>,module=dsn,") {
		return out
	}
	return p.emitDelivery(r, &p.courier.Deliveries, idKey(r, id), rest[i+len(addr):], courierDelivery, courierServer, out)
}
