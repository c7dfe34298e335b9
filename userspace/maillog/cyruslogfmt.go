package maillog

import (
	"bytes"

	"weir/policy"
)

// Cyrus IMAP writes key=value pairs since 3.13 (imap/loginlog.c,
// lib/logfmt.c):
//
//	event=login.good r.sessionid=… r.clienthost=CLIENT u.username=USER login.mech=… login.tls=…
//	event=login.bad r.clienthost=CLIENT u.username=USER [login.mech=…] [login.scheme=…] error=REASON
//
// A value with anything but plain graphic characters stands in quotes, in
// which the backslash escapes. "~null~" is no value.

// cyrusEvent reads what stands behind "event=login.".
func (p *Parser) cyrusEvent(r *record, rest []byte, out []policy.Event) []policy.Event {
	verb, rest, _ := bytes.Cut(rest, []byte(" "))
	var client, user, mechanism, reason []byte
	for len(rest) > 0 {
		key, value, next := logfmtPair(rest)
		switch string(key) {
		case "r.clienthost":
			client = value
		case "u.username":
			user = value
		case "login.mech", "login.scheme":
			mechanism = value
		case "error":
			reason = value
		}
		rest = next
	}
	bad := string(verb) == "bad"
	if !bad && string(verb) != "good" {
		return out
	}
	addr, tail, ok := cyrusClient(client)
	if !ok || len(tail) > 0 {
		p.puzzled(r)
		return out
	}
	if string(user) == "~null~" {
		user = nil
	}
	var whole [maxUserLen]byte
	user = unescaped(user, whole[:0])
	if !bad {
		if user == nil {
			return out // anonymous
		}
		return p.cyrusSuccess(r, addr, user, out)
	}
	if !isLogfmtRefusal(reason) {
		return out
	}
	return p.cyrusFailure(r, addr, mechanism, user, out)
}

// isLogfmtRefusal reports the same as isCyrusRefusal of a reason alone.
func isLogfmtRefusal(reason []byte) bool {
	return string(reason) == "invalid user" || isCyrusRefusal(reason) || endsInSASLOffence(reason, "", "")
}

// logfmtPair reads KEY=VALUE at the beginning of b and returns what stands
// behind the space that follows.
func logfmtPair(b []byte) (key, value, rest []byte) {
	n := 0
	for n < len(b) && b[n] != '=' && b[n] != ' ' {
		n++
	}
	key, rest = b[:n], b[n:]
	if rest, ok := skipWord(rest, `="`); ok {
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(rest))
		return key, rest[:end], rest[min(end+len(`" `), len(rest)):]
	}
	rest, _ = skipWord(rest, "=")
	n = bytes.IndexByte(rest, ' ')
	if n < 0 {
		return key, rest, nil
	}
	return key, rest[:n], rest[n+1:]
}

// unescaped appends b to to, as far as that has room, with \" and \\ and
// \x{HH} as the bytes that they stand for. Without any it returns b.
func unescaped(b, to []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	for len(b) > 0 && len(to) < cap(to) {
		c := b[0]
		b = b[1:]
		if c == '\\' && len(b) > 0 {
			c, b = b[0], b[1:]
			if code, ok := skipWord(b, "{"); ok && c == 'x' {
				n, length := leadingHex(code)
				if tail, ok := skipWord(code[length:], "}"); ok && length == 2 {
					c, b = byte(n), tail
				}
			}
		}
		to = append(to, c)
	}
	return to
}
