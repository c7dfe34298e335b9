package maillog

import (
	"bytes"
	"net/netip"
)

// sendmailID takes "ID: " or "ID[PART]: " off. An ID is letters and digits,
// and the process's number is the end of it; NOQUEUE stands for none, as does
// nothing at all. part is 0 where a text is whole.
func sendmailID(b []byte) (id []byte, part int, text []byte) {
	n := leadingAlnum(b[:min(len(b), 32)])
	if n < len("NOQUEUE") {
		return nil, 0, b
	}
	rest := b[n:]
	if inner, ok := skipWord(rest, "["); ok {
		number, length := leadingUint(inner)
		rest, ok = skipWord(inner[length:], "]")
		if !ok || number == 0 {
			return nil, 0, b
		}
		part = number
	}
	rest, ok := skipWord(rest, ": ")
	if !ok {
		return nil, 0, b
	}
	return b[:n], part, rest
}

// sendmailClient reads a client (getauthinfo in daemon.c) at the beginning of b:
//
//	[ADDRESS]
//	NAME [ADDRESS][ (may be forged)]
//
// NAME is what the DNS says, or /etc/hosts; IDENT@NAME, if the client's host
// was asked (RFC 1413). It has no space, but may have brackets, and is not
// always a name that leads back. IPv6 has "IPv6:" before it.
func sendmailClient(b []byte) (addr netip.Addr, rest []byte, ok bool) {
	if len(b) > 0 && b[0] != '[' {
		i := bytes.IndexByte(b, ' ')
		if i <= 0 || b[0] == '<' || b[0] == '"' {
			return addr, b, false
		}
		b = b[i+1:]
	}
	rest, ok = skipWord(b, "[")
	if !ok {
		return addr, b, false
	}
	rest, _ = skipWord(rest, "IPv6:")
	addr, n := leadingAddr(rest)
	rest, ok = skipWord(rest[n:], "]")
	if !ok || n == 0 {
		return addr, b, false
	}
	rest, _ = skipWord(rest, " (may be forged)")
	return addr, rest, true
}

// isSendmailRefusal reports whether the SASL library refused the login
// (sasl.go). It reads
//
//	ERROR (-NUMBER)…
func isSendmailRefusal(b []byte) bool {
	const mark = " (-"
	i := index(b, mark)
	if i < 0 {
		return false
	}
	b = b[i+len(mark):]
	n, length := leadingUint(b)
	return isSASLOffenceNumber(n) && hasPrefix(b[length:], ")")
}

// sendmailUser returns the user of a login that failed. With PLAIN it is
// "AUTHORIZE/AUTHENTICATE", if the client gave both.
func sendmailUser(mechanism, user []byte) []byte {
	if bytes.EqualFold(mechanism, []byte("PLAIN")) {
		return user[bytes.LastIndexByte(user, '/')+1:]
	}
	return user
}

// sendmailService finds the service in "…, daemon=NAME".
func sendmailService(b []byte) string {
	const key = ", daemon="
	i := bytes.LastIndex(b, []byte(key))
	if i < 0 {
		return smtp
	}
	return daemonService(b[i+len(key):])
}

// daemonService tells the service from the name that DaemonPortOptions gives:
// MSA and TLSMTA are those of sendmail's and Red Hat's configurations, MSP-v4
// is Debian's.
func daemonService(name []byte) string {
	for _, word := range [...]string{"MSA", "MSP", "TLS", "SSL", "587", "465"} {
		if index(name, word) >= 0 {
			return submission
		}
	}
	return smtp
}

// greatest returns the greatest number behind key, 0 if there is none.
func greatest(b []byte, key string) (most int) {
	for {
		i := index(b, key)
		if i < 0 {
			return most
		}
		b = b[i+len(key):]
		if n, _ := leadingUint(b); n <= 1e6 {
			most = max(most, n)
		}
	}
}

// fromXText appends b to out without its xtext (RFC 3461 section 4): "+2B" is
// "+". It is cut where out is full.
func fromXText(b, out []byte) []byte {
	for i := 0; i < len(b) && len(out) < cap(out); i++ {
		c := b[i]
		if c == '+' && i+2 < len(b) {
			if n, length := leadingHex(b[i+1 : i+3]); length == 2 {
				c = byte(n)
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}
