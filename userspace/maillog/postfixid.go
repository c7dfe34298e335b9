package maillog

import (
	"bytes"
	"net/netip"
)

// client reads NAME[ADDRESS] or NAME[ADDRESS]:PORT at the beginning of b and
// returns what stands behind. The address is invalid where Postfix itself
// did not know it ("unknown[unknown]").
func client(b []byte) (addr netip.Addr, rest []byte, ok bool) {
	n := 0
	for n < len(b) && (isAlnum(b[n]) || b[n] == '.' || b[n] == '-' || b[n] == '_') {
		n++
	}
	if n == 0 || n == len(b) || b[n] != '[' {
		return addr, b, false
	}
	b = b[n+1:]
	addr, n = leadingAddr(b)
	if n == 0 {
		if b, ok = skipWord(b, "unknown"); !ok {
			return addr, b, false
		}
	}
	b = b[n:]
	if len(b) == 0 || b[0] != ']' {
		return netip.Addr{}, b, false
	}
	b = b[1:]
	if len(b) > 1 && b[0] == ':' && b[1] != ' ' { // a port, or "unknown"
		n = 1
		for n < len(b) && isAlnum(b[n]) {
			n++
		}
		b = b[n:]
	}
	return addr, b, true
}

// queueID reads "QUEUEID: " and returns what stands behind; nil if b does not
// begin with one. Short IDs are hexadecimal, long ones (enable_long_queue_ids)
// letters and digits; "NOQUEUE" stands for none.
func queueID(b []byte) (id, rest []byte) {
	n := 0
	for n < len(b) && n < 32 && isAlnum(b[n]) {
		n++
	}
	if n < 5 || n+2 > len(b) || b[n] != ':' || b[n+1] != ' ' {
		return nil, b
	}
	return b[:n], b[n+2:]
}

// smtpdService tells the service from the syslog name that master.cf gives
// it: postfix/submission/smtpd, postfix/smtps/smtpd, postfix-587/smtpd.
func smtpdService(program []byte) string {
	name := program[:len(program)-len("/smtpd")]
	for _, word := range [...]string{"submission", "smtps", "587", "465"} {
		if index(name, word) >= 0 {
			return submission
		}
	}
	return smtp
}

// instanceOf returns the first part of a program's name, by which several
// instances of Postfix on one host differ: postfix, postfix-out.
func instanceOf(program []byte) hash {
	name, _, _ := bytes.Cut(program, []byte("/"))
	return newHash.bytes(name)
}

func sessionKey(r *record) uint64 {
	return uint64(newHash.bytes(r.host).bytes(r.program).uint(r.pid))
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

// queueKeys returns where a message may be kept: with its instance if two had
// its ID at once, and else without.
func queueKeys(r *record, id []byte) [2]uint64 {
	plain := newHash.bytes(r.host).bytes(id)
	return [...]uint64{uint64(plain.uint(uint32(instanceOf(r.program)))), uint64(plain)}
}

// recall returns a message that has not left the queue, or nil.
func (p *Parser) recall(r *record, id []byte) *queued {
	for _, key := range queueKeys(r, id) {
		if m := p.queue.get(key); m != nil {
			return m
		}
	}
	return nil
}

// forget takes a message out that has left the queue.
func (p *Parser) forget(r *record, id []byte) {
	for _, key := range queueKeys(r, id) {
		if p.queue.get(key) != nil {
			p.queue.remove(key)
			return
		}
	}
}
