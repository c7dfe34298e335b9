package maillog

import "bytes"

// Exim writes a client (host_build_sender_fullhost, host_and_ident) as
//
//	[NAME ][(HELO) ][ADDRESS][:PORT][ I=[ADDRESS]:PORT][ TFO*][ U=IDENT][ Ci=ID]
//
// NAME comes from the DNS, was looked up in both directions and has no space.
// HELO is the client's, and what it may be is the administrator's choice: by
// default Exim refuses anything but letters, digits, dots, hyphens and address
// literals (and helo_allow_chars), but helo_accept_junk_hosts lets a client
// say "x) [192.0.2.1]: 535 …". Behind the address, too, stand words of the
// client's: the user, the sender, the message ID.
//
// So where a line has a second place that could be the client's, it depends
// on that choice which one is. The log shows it: Exim has refused a HELO, and
// then the first place is right; or it has let a strange one pass, or has yet
// refused none, and then such a line is not believed. (The administrator's
// list of junk hosts may name some hosts only. Those are his own.)

// heloPolicy is what a log shows of the HELO names that its Exim accepts.
type heloPolicy uint8

const (
	heloUnknown heloPolicy = iota
	heloStrict             // junk was refused
	heloJunk               // junk was accepted
)

// eximBadHELO reads
//
//	rejected EHLO from CLIENT: syntactically invalid argument(s): ARGUMENT
func (p *Parser) eximBadHELO(text []byte) {
	if p.eximLog.HELO == heloUnknown && index(text, ": syntactically invalid argument(s): ") > 0 {
		p.eximLog.HELO = heloStrict
	}
}

// eximClient reads a client at the beginning of b. What stands behind it must
// satisfy follows.
func (p *Parser) eximClient(b []byte, follows func([]byte) bool) (c eximPeer, ok bool) {
	if len(b) > 0 && b[0] != '(' && b[0] != '[' { // NAME
		i := bytes.IndexByte(b, ' ')
		if i < 0 {
			return c, false
		}
		b = b[i+1:]
	}
	if rest, ok := skipWord(b, "["); ok {
		c, ok = eximAddress(rest)
		return c, ok && follows(c.rest)
	}
	helo, inBrackets := skipWord(b, "(")
	if !inBrackets {
		return c, false
	}
	const end = ") ["
	var name []byte
	ok, two, junk := false, false, false
	for from := 0; ; from += len(end) {
		i := index(helo[from:], end)
		if i < 0 {
			break
		}
		from += i
		next, isPlace := eximAddress(helo[from+len(end):])
		switch {
		case !isPlace:
		case name == nil:
			c, name, ok = next, helo[:from], follows(next.rest)
		case next.addr != c.addr || next.service != c.service:
			two, junk = true, junk || !ok && follows(next.rest)
		case !ok:
			c, ok = next, follows(next.rest)
		}
	}
	if junk || !two && ok && isJunk(name) {
		p.eximLog.HELO = heloJunk
	}
	if two && (p.eximLog.HELO != heloStrict || isJunk(name)) {
		return c, false
	}
	return c, ok
}

// isJunk reports whether a HELO name has what a forged client needs.
func isJunk(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c == '(' || c == ')' {
			return true
		}
	}
	return false
}

// eximAddress reads ADDRESS] and what belongs to it. The port of the server's
// own end tells the service; it is written with log_selector =
// +incoming_interface.
func eximAddress(b []byte) (c eximPeer, ok bool) {
	c.service = smtp
	addr, n := leadingAddr(b)
	if n == 0 || n == len(b) || b[n] != ']' {
		return c, false
	}
	c.addr, b = addr, b[n+1:]
	if rest := skipPort(b); len(rest) < len(b) {
		port, _ := leadingUint(b[1:])
		c.port, b = uint32(port), rest
	}
	if rest, ok := skipWord(b, " I=["); ok {
		_, n := leadingAddr(rest)
		rest, ok = skipWord(rest[n:], "]")
		if !ok || n == 0 {
			return c, false
		}
		b = skipPort(rest)
		if port := rest[:len(rest)-len(b)]; string(port) == ":587" || string(port) == ":465" {
			c.service = submission
		}
	}
	if rest, ok := skipWord(b, " TFO"); ok {
		b = bytes.TrimPrefix(rest, []byte("*"))
	}
	if rest, ok := skipWord(b, " U="); ok {
		n := 0
		for n < len(rest) && rest[n] > ' ' && rest[n] != ':' {
			n++
		}
		b, c.ident = rest[n:], true
	}
	if rest, ok := skipWord(b, " Ci="); ok {
		b = rest[leadingAlnum(rest):]
	}
	c.rest = b
	return c, true
}

// skipPort skips ":PORT", if b begins with it.
func skipPort(b []byte) []byte {
	if len(b) > 1 && b[0] == ':' && isDigit(b[1]) {
		_, n := leadingUint(b[1:])
		return b[1+n:]
	}
	return b
}
