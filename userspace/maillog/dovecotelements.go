package maillog

import (
	"bytes"
	"net/netip"
)

// What Dovecot's login processes say of a client, login_log_format_elements
// (src/login-common/client-common.c, client_get_log_str). The default is the
// same in 2.2, 2.3 and 2.4; what is empty is left out, but for the user:
//
//	user=<USER>, method=METHOD, rip=ADDRESS, lip=ADDRESS, mpid=N, TLS, session=<ID>
//
// USER and METHOD are the client's words, and Dovecot escapes nothing in them
// but control bytes and broken UTF-8.

const (
	maxLoginUser   = 80 // bytes; what client-common.c cuts names to
	maxLoginMethod = 64 // likewise MAX_MECH_NAME
)

// loginClient is the client of a login process.
type loginClient struct {
	addr    netip.Addr
	user    []byte
	session []byte // the session's ID, nil if it does not end the line
	plain   bool   // no method is told
}

// elementsStart returns where ": ELEMENTS" begins, and -1 if nowhere. Dovecot's
// own words before it have ": " too, but no "NAME=" behind it.
func elementsStart(text []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], ':')
		if i < 0 {
			return -1
		}
		from += i + 1
		if b := text[from:]; len(b) > 1 && b[0] == ' ' && isElement(b[1:]) {
			return from - 1
		}
	}
}

// isElement reports whether b begins with "NAME=".
func isElement(b []byte) bool {
	for i, c := range b {
		if c == '=' {
			return i > 0
		}
		if c != '_' && !isAlnum(c) {
			return false
		}
	}
	return false
}

// lastElementsStart returns where the last ": ELEMENTS" begins, for texts that
// quote the client before.
func lastElementsStart(text []byte) int {
	i := bytes.LastIndex(text, []byte(": user=<"))
	if i < 0 {
		i = bytes.LastIndex(text, []byte(": rip="))
	}
	return i
}

// loginElements reads the elements. A user "x>, rip=192.0.2.1, lip=192.0.2.2"
// puts a second address into the line. What stands behind rip= in the default
// format is Dovecot's own, so the last address that a user name of at most 80
// bytes can stand before is the right one.
//
// Administrators may add elements, also such that the client chooses (the TLS
// server name), behind rip=. Lines with one address show whether they have
// done so; if they have, or if the session's ID is of another client, a line
// with two different addresses is not believed. Where elements stand in
// another order, the one that comes first is certain; no other is if there
// are two.
func (p *Parser) loginElements(b []byte) (c loginClient, ok bool) {
	c.session = lastSession(b)
	rest, usual := skipWord(b, "user=<")
	if !usual {
		if rest, ok := skipWord(skipOwnElements(b), "rip="); ok {
			addr, n := leadingAddr(rest)
			c.addr, c.user = addr, elementUser(rest[n:])
			return c, n > 0 && endsElement(rest[n:])
		}
	}
	const key = ", rip="
	var tail []byte
	two := false
	for from := 0; ; {
		i := index(rest[from:], key)
		if i < 0 {
			break
		}
		before := rest[:from+i]
		from += i + len(key)
		a, n := leadingAddr(rest[from:])
		if n == 0 || !endsElement(rest[from+n:]) {
			continue
		}
		name, fits := before, true
		if usual {
			name, fits = userBefore(before)
		}
		if !fits {
			continue
		}
		two = two || c.addr.IsValid() && c.addr != a
		c.addr, c.user, tail = a, name, rest[from+n:]
		c.plain = len(name)+1 == len(before)
	}
	switch {
	case !c.addr.IsValid():
		return c, false
	case !usual:
		c.user, c.plain = elementUser(b), false
		return c, !two
	case two:
		addr, known := sessionAddr(c.session)
		return c, !p.extraElements && (!known || addr == c.addr)
	case !p.extraElements:
		p.extraElements = len(skipOwnElements(tail)) > 0
	}
	return c, true
}

func endsElement(b []byte) bool { return len(b) == 0 || b[0] == ',' }

// userBefore reads "USER>", "USER>, method=METHOD", or with elements of
// Dovecot's own behind the user, what stands before ", rip=", and reports
// whether Dovecot can have written it. USER and METHOD may contain any of it,
// so all ends that a user can have are tried, the last first.
func userBefore(b []byte) (user []byte, ok bool) {
	for n := min(len(b), maxLoginUser+1); ; {
		n = bytes.LastIndexByte(b[:n], '>')
		if n < 0 {
			return nil, false
		}
		rest := b[n+1:]
		if method, ok := skipWord(rest, ", method="); ok && len(method) <= maxLoginMethod || len(skipOwnElements(rest)) == 0 {
			return b[:n], true
		}
	}
}

// elementUser finds "user=<USER>" or "user=USER" where it does not come first.
func elementUser(b []byte) []byte {
	const key = "user="
	if !hasPrefix(b, key) {
		i := index(b, ", "+key)
		if i < 0 {
			return nil
		}
		b = b[i+2:]
	}
	b = b[len(key):]
	end := byte(',')
	if len(b) > 0 && b[0] == '<' {
		b, end = b[1:], '>'
	}
	if i := bytes.IndexByte(b, end); i >= 0 {
		return b[:i]
	}
	return b
}

// skipOwnElements returns b behind the elements that are Dovecot's own:
// addresses, numbers, the session's ID and what it says of TLS. They may begin
// with the comma that parts them from what stands before.
func skipOwnElements(b []byte) []byte {
	for len(b) > 0 {
		element := b
		if element[0] == ',' {
			element = trimStart(element[1:])
		}
		if hasPrefix(element, "rip=") {
			return element
		}
		end := bytes.IndexByte(element, ',')
		if end < 0 {
			end = len(element)
		}
		if !isOwnElement(element[:end]) {
			return element
		}
		b = element[end:]
	}
	return b
}

func isOwnElement(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case 'T':
		return hasPrefix(b, "TLS") || string(b) == "TSL"
	case 's':
		if id, ok := skipWord(b, "session=<"); ok {
			rest, ok := skipID(id)
			return ok && len(rest) == 0
		}
		if string(b) == "secured" {
			return true
		}
	case '(':
		return string(b) == "(proxied)"
	}
	i := bytes.IndexByte(b, '=')
	if i < 0 {
		return false
	}
	for _, c := range b[i+1:] { // an address or a number
		if !isHex(c) && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

// lastSession returns the ID of ", session=<ID>" at the end of b.
func lastSession(b []byte) []byte {
	const key = ", session=<"
	n := len(b) - 1
	if n < 0 || b[n] != '>' {
		return nil
	}
	i := bytes.LastIndexByte(b, '<') + 1
	if i < len(key) || string(b[i-len(key):i]) != key || bytes.IndexByte(b[i:n], ' ') >= 0 {
		return nil
	}
	return b[i:n]
}

// sessionAddr returns the client's address that a session's ID of Dovecot's
// own making ends with: base64 of a time of 6 bytes, a port of 2 and the
// address (client_get_session_id). It reports whether the ID is such a one; a
// trusted proxy may have given another.
func sessionAddr(id []byte) (netip.Addr, bool) {
	var raw [24]byte
	n := decodeBase64(raw[:], id)
	switch n {
	case 12:
		return netip.AddrFrom4([4]byte(raw[8:12])), true
	case 24:
		return netip.AddrFrom16([16]byte(raw[8:24])).Unmap(), true
	}
	return netip.Addr{}, false
}

// decodeBase64 decodes src (RFC 4648 section 4) of a whole number of groups
// and tells how many bytes it gave, 0 if src is no such text or too long.
func decodeBase64(dst, src []byte) int {
	if len(src)%4 != 0 || len(src)/4*3 > len(dst) {
		return 0
	}
	n := 0
	var bits uint32
	for i, c := range src {
		switch {
		case c >= 'A' && c <= 'Z':
			bits = bits<<6 | uint32(c-'A')
		case c >= 'a' && c <= 'z':
			bits = bits<<6 | uint32(c-'a'+26)
		case isDigit(c):
			bits = bits<<6 | uint32(c-'0'+52)
		case c == '+':
			bits = bits<<6 | 62
		case c == '/':
			bits = bits<<6 | 63
		default:
			return 0
		}
		if i%4 == 3 {
			dst[n], dst[n+1], dst[n+2] = byte(bits>>16), byte(bits>>8), byte(bits)
			n += 3
		}
	}
	return n
}
