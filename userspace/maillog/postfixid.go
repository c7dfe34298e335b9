package maillog

import (
	"bytes"
	"net/netip"
)

// readPostfixClient reads NAME[ADDRESS] or NAME[ADDRESS]:PORT at the beginning of b and
// returns what stands behind. The address is invalid where Postfix itself
// did not know it ("unknown[unknown]").
func readPostfixClient(b []byte) (addr netip.Addr, rest []byte, ok bool) {
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
		b = b[1+leadingAlnum(b[1:]):]
	}
	return addr, b, true
}

// queueID reads "QUEUEID: " and returns what stands behind; nil if b does not
// begin with one. Short IDs are hexadecimal, long ones (enable_long_queue_ids)
// letters and digits; "NOQUEUE" stands for none.
func queueID(b []byte) (id, rest []byte) {
	n := leadingAlnum(b[:min(len(b), 32)])
	if n < 5 || n+2 > len(b) || b[n] != ':' || b[n+1] != ' ' {
		return nil, b
	}
	return b[:n], b[n+2:]
}

// postfixService tells the service from the syslog name that master.cf gives
// it: postfix/submission/smtpd, postfix/smtps/smtpd, postfix-587/smtpd.
func postfixService(program []byte) string {
	name := program[:bytes.LastIndexByte(program, '/')]
	if index(name, "submission") >= 0 || index(name, "smtps") >= 0 || hasNumber(name, "587") || hasNumber(name, "465") {
		return submission
	}
	return smtp
}

// hasNumber reports whether a number stands in name with no digit beside it.
func hasNumber(name []byte, number string) bool {
	for {
		i := index(name, number)
		if i < 0 {
			return false
		}
		behind := name[i+len(number):]
		if (i == 0 || !isDigit(name[i-1])) && (len(behind) == 0 || !isDigit(behind[0])) {
			return true
		}
		name = behind
	}
}

// instanceOf returns the first part of a program's name, by which several
// instances of Postfix on one host differ: postfix, postfix-out.
func instanceOf(program []byte) hash {
	name, _, _ := bytes.Cut(program, []byte("/"))
	return newHash.bytes(name)
}
