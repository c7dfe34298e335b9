package maillog

import (
	"bytes"

	"weir/policy"
)

// eximID reads a message ID and a space and returns what stands behind; nil
// if b does not begin with one. IDs were 6-6-2 base-62 digits before 4.97 and
// are 6-11-4 since.
func eximID(b []byte) (id, rest []byte) {
	n := bytes.IndexByte(b[:min(len(b), 24)], ' ')
	if n != 16 && n != 23 || b[6] != '-' || b[n-3] != '-' && b[n-5] != '-' {
		return nil, b
	}
	for _, c := range b[:n] {
		if !isAlnum(c) && c != '-' {
			return nil, b
		}
	}
	return b[:n], b[n+1:]
}

// eximMail reads "ID FLAG …" lines.
func (p *Parser) eximMail(r *record, id, text []byte, out []policy.Event) []policy.Event {
	if hasPrefix(text, "Completed") {
		p.eximLog.Deliveries.Mail.remove(idKey(r, id))
		return out
	}
	if len(text) < 4 || text[2] != ' ' {
		return out
	}
	switch string(text[:2]) {
	case "<=":
		return p.eximArrival(r, id, text[3:], out)
	case "=>", "->", "==", "**":
		return p.eximDelivery(r, id, text[3:], out)
	}
	return out
}

// eximArrival reads
//
//	SENDER[ R=ID][ DS] H=CLIENT P=PROTOCOL[ L][ X=…][ CV=…][ DN="…"][ SNI=…][ A=NAME[:USER[:SENDER]]]… S=N…
//	…[ id=…][ T="…"][ from <…>][ for RECIPIENT…]
//
// The recipients are written with log_selector = +received_recipients, as many
// as the log's buffer holds. Otherwise the message counts for one at first,
// and its deliveries tell of the others.
func (p *Parser) eximArrival(r *record, id, rest []byte, out []policy.Event) []policy.Event {
	rest = rest[unquoted(rest, ' '):]
	if reference, ok := skipWord(rest, " R="); ok {
		rest = reference[unquoted(reference, ' '):]
	}
	rest, _ = skipWord(rest, " DS")
	rest, ok := skipWord(rest, " H=")
	if !ok {
		return out // from this host, not from a client
	}
	c, ok := p.eximClient(rest, isBeforeProtocol)
	if !ok {
		p.puzzled(r)
		return out
	}
	name, rest, ok := eximLogin(&c)
	if !ok {
		p.puzzled(r)
		return out
	}
	t, ok := p.when(r)
	if !ok {
		return out
	}
	p.found(eximArrival)
	m := accepted{Source: c.addr, User: p.users.name(name), Service: c.service, Told: max(eximRecipients(rest), 1), Unix: t.Unix()}
	requested := p.wasRequested(t.Unix(), id, m.Source, m.User)
	if !requested {
		p.eximLog.Deliveries.Mail.put(idKey(r, id), m)
	}
	if r.pid == 0 {
		r.pid = c.port // tells sessions apart as well
	}
	if m.User != "" && p.isNewLogin(r, session{Source: m.Source, User: m.User}) {
		out = p.emitSuccess(r, policy.Event{
			Kind: policy.AuthSuccess, Source: m.Source, User: m.User, Service: m.Service, Server: eximServer,
		}, out)
	}
	if requested {
		return out
	}
	return p.emitAccepted(r, &m, m.Told, eximServer, out)
}

func isBeforeProtocol(b []byte) bool { return hasPrefix(b, " P=") }

// eximLogin returns whom the client logged in as, if it did, and what stands
// behind. The protocol says whether it did (esmtpa, esmtpsa). Words of the
// client's that may stand before A= are the subject of its certificate and
// the name of RFC 1413: where one of them could be the place, and there is
// another, neither is believed.
func eximLogin(c *eximPeer) (user, rest []byte, ok bool) {
	const key = " A="
	rest = c.rest
	protocol := rest[len(" P="):]
	if i := bytes.IndexByte(protocol, ' '); i >= 0 {
		protocol = protocol[:i]
	}
	if !bytes.HasSuffix(protocol, []byte("esmtpa")) && !bytes.HasSuffix(protocol, []byte("esmtpsa")) {
		return nil, rest, !c.ident || index(rest, key) < 0
	}
	i := index(rest, key)
	if i < 0 {
		return nil, rest, true
	}
	before := rest[:i]
	rest = rest[i+len(key):]
	if (c.ident || index(before, ` DN="`) >= 0) && index(rest, key) >= 0 {
		return nil, rest, false
	}
	end := len(rest)
	for _, next := range [...]string{" PRDR", " PRX=", " K S=", " S="} {
		if i := index(rest[:end], next); i >= 0 {
			end = i
		}
	}
	user, rest = rest[:end], rest[end:]
	i = bytes.IndexByte(user, ':')
	if i < 0 {
		return nil, rest, true // an authenticator without server_set_id
	}
	user = user[i+1:]
	if i = bytes.IndexByte(user, ':'); i >= 0 { // +smtp_mailauth
		user = user[:i]
	}
	return user, rest, true
}

// eximRecipients counts the words behind " for ". What stands between the
// size and it is quoted wherever it may have spaces.
func eximRecipients(b []byte) (n int) {
	i := index(b, " S=")
	if i < 0 {
		return 0
	}
	listed := false
	for b = b[i+1:]; len(b) > 0; {
		end := unquoted(b, ' ')
		switch {
		case listed && end > 0:
			n++
		case string(b[:end]) == "for":
			listed = true
		}
		b = b[min(end+1, len(b)):]
	}
	return n
}

// eximDelivery reads
//
//	ADDRESS[ (PARENTS)][ <RECIPIENT>][ F=<…>][ R=…]…
//
// of a recipient that a delivery was tried to: done, put off or failed.
func (p *Parser) eximDelivery(r *record, id, rest []byte, out []policy.Event) []policy.Event {
	d, key := &p.eximLog.Deliveries, idKey(r, id)
	if d.Mail.get(key) == nil {
		return out
	}
	return p.emitDelivery(r, d, key, eximRecipient(rest), eximDelivery, eximServer, out)
}

// eximRecipient returns the recipient that a delivery line is about. Exim
// shows the address that it delivers to without quotes, and <RECIPIENT> where
// that differs.
func eximRecipient(b []byte) []byte {
	for _, next := range [...]string{" R=", " Q=", " F=<", " P=<", " T=", " routing defer ", ": "} {
		if i := index(b, next); i >= 0 {
			b = b[:i]
		}
	}
	if head, ok := bytes.CutSuffix(b, []byte(">")); ok {
		if i := bytes.LastIndex(head, []byte(" <")); i >= 0 {
			return head[i+2:]
		}
	}
	return b
}

// unquoted returns the index of the first c that is neither within double
// quotes nor behind a backslash (RFC 5321 section 4.1.2), or len(b).
func unquoted(b []byte, c byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == c && !quoted:
			return i
		}
	}
	return len(b)
}
