package maillog

import (
	"bytes"
	"net/netip"
)

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

func hasAnyPrefix(b []byte, prefixes ...string) bool {
	for _, s := range prefixes {
		if hasPrefix(b, s) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// trimEnd takes line ends, blanks and the NULs of a preallocated file off.
func trimEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] <= ' ') {
		b = b[:len(b)-1]
	}
	return b
}

func trimStart(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}

// digits reads all of b as a decimal number.
func digits(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(b) > 0
}

// leadingUint reads the decimal number that b begins with, at most nine
// digits of it, and tells how many it has read.
func leadingUint(b []byte) (n, length int) {
	for length < len(b) && length < 9 && isDigit(b[length]) {
		n = 10*n + int(b[length]-'0')
		length++
	}
	return n, length
}

// leadingAlnum returns how many letters and digits b begins with.
func leadingAlnum(b []byte) (n int) {
	for n < len(b) && isAlnum(b[n]) {
		n++
	}
	return n
}

// skipWord returns b behind prefix, if it begins with that.
func skipWord(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return b, false
	}
	return b[len(prefix):], true
}

// index is bytes.Index for a constant.
func index(b []byte, s string) int {
	if s == "" {
		return 0
	}
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], s[0])
		if i < 0 || len(b)-from-i < len(s) {
			return -1
		}
		from += i
		if string(b[from:from+len(s)]) == s {
			return from
		}
		from++
	}
}

// leadingAddr reads the IP address that b begins with and tells its length, 0
// if it begins with none. The address ends where a byte stands that none can
// have. A zone (RFC 4007 section 11) is read and dropped, and an IPv4-mapped
// address is IPv4.
func leadingAddr(b []byte) (netip.Addr, int) {
	n := 0
	colon := false
	for n < len(b) && n < 46 {
		c := b[n]
		if c == ':' {
			colon = true
		} else if c != '.' && !isHex(c) {
			break
		}
		n++
	}
	if !colon {
		a, ok := parse4(b[:n])
		if !ok {
			return netip.Addr{}, 0
		}
		return netip.AddrFrom4(a), n
	}
	a, ok := parse6(b[:n])
	if !ok {
		return netip.Addr{}, 0
	}
	if n < len(b) && b[n] == '%' {
		for n++; n < len(b) && (isAlnum(b[n]) || b[n] == '.' || b[n] == '-' || b[n] == '_'); n++ {
		}
	}
	return netip.AddrFrom16(a).Unmap(), n
}

// hasBracketedAddr reports whether b has "[ADDRESS]" anywhere.
func hasBracketedAddr(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '[')
		if i < 0 {
			return false
		}
		b = b[i+1:]
		if _, n := leadingAddr(b); n > 0 && hasPrefix(b[n:], "]") {
			return true
		}
	}
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// parse4 reads all of b as dotted decimal (RFC 3986 section 3.2.2).
func parse4(b []byte) (a [4]byte, ok bool) {
	if len(b) < 7 || len(b) > 15 {
		return a, false
	}
	field := 0
	for i := 0; ; field++ {
		n, length := leadingUint(b[i:])
		if length == 0 || length > 3 || n > 255 || length > 1 && b[i] == '0' {
			return a, false
		}
		a[field] = byte(n)
		i += length
		if field == 3 {
			return a, i == len(b)
		}
		if i >= len(b) || b[i] != '.' {
			return a, false
		}
		i++
	}
}

// parse6 reads all of b as an IPv6 address (RFC 4291 section 2.2).
func parse6(b []byte) (a [16]byte, ok bool) {
	gap := -1 // where "::" stands
	at := 0
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		gap, b = 0, b[2:]
	}
	for len(b) > 0 {
		if at == 16 {
			return a, false
		}
		n, length := leadingHex(b)
		if length == 0 || length > 4 {
			return a, false
		}
		if length < len(b) && b[length] == '.' {
			v4, ok := parse4(b)
			if !ok || at > 12 {
				return a, false
			}
			at += copy(a[at:], v4[:])
			break
		}
		a[at], a[at+1] = byte(n>>8), byte(n)
		at += 2
		b = b[length:]
		if len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return a, false
		}
		b = b[1:]
		if b[0] == ':' {
			if gap >= 0 {
				return a, false
			}
			gap, b = at, b[1:]
		}
	}
	if gap < 0 {
		return a, at == 16
	}
	if at == 16 {
		return a, false
	}
	moved := copy(a[16-(at-gap):], a[gap:at])
	clear(a[gap : 16-moved])
	return a, true
}

func leadingHex(b []byte) (n uint32, length int) {
	for length < len(b) && length < 5 && isHex(b[length]) {
		c := b[length]
		switch {
		case isDigit(c):
			n = n<<4 | uint32(c-'0')
		default:
			n = n<<4 | uint32(c|0x20-'a'+10)
		}
		length++
	}
	return n, length
}

// saysTrouble reports whether a refusal is put down to the server, or to
// missing TLS: then the password has not been judged. The words are those of
// Dovecot ("Temporary authentication failure", "Internal error occurred"), of
// nginx's manual ("Temporary server problem, try again later") and of RFC 5530
// (UNAVAILABLE).
func saysTrouble(b []byte) bool {
	for _, word := range [...]string{"emporar", "try again", "nternal", "navailable", "imeout", "timed out", "disabled", "STARTTLS", "starttls"} {
		if index(b, word) >= 0 {
			return true
		}
	}
	return false
}
