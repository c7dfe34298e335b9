package intake

import (
	"bytes"
	"net/netip"
	"time"
)

// frame is one syslog message taken apart. Its slices point into the datagram.
type frame struct {
	time    time.Time // zero if the message has none
	host    []byte    // empty if the message names none
	program []byte
	pid     int
	message []byte
	cutName bool // rsyslogd has cut the program's name at its slash
}

// parseFrame takes apart a message in the form of RFC 5424, of RFC 3164 with
// or without host name, or as syslog(3) writes it to /dev/log. What is not
// recognised is message. now gives a stamp without a year its year, location
// its zone.
func parseFrame(b []byte, now time.Time, location *time.Location) frame {
	b = bytes.TrimRight(b, "\n\x00")
	b, ok := skipPriority(b)
	if ok && bytes.HasPrefix(b, []byte("1 ")) {
		if f, ok := parse5424(b[2:]); ok {
			return f
		}
	}
	return parse3164(b, now, location)
}

// skipPriority skips "<PRI>", RFC 5424 section 6.2.1.
func skipPriority(b []byte) ([]byte, bool) {
	if len(b) < 3 || b[0] != '<' {
		return b, false
	}
	for i := 1; i < len(b) && i <= 4; i++ {
		if b[i] == '>' && i > 1 {
			return b[i+1:], true
		}
		if b[i] < '0' || b[i] > '9' {
			break
		}
	}
	return b, false
}

// parse5424 reads what follows the version, RFC 5424 section 6.
func parse5424(b []byte) (f frame, ok bool) {
	var field [5][]byte // time, host, program, process, message id
	for i := range field {
		var found bool
		if field[i], b, found = bytes.Cut(b, space); !found || len(field[i]) == 0 {
			return frame{}, false
		}
	}
	if string(field[0]) != "-" {
		if f.time, ok = parseStamp(field[0]); !ok {
			return frame{}, false
		}
	}
	f.host, f.program = named(field[1]), named(field[2])
	f.pid = int(min(number(field[3], 0), maxPID))
	if b, ok = skipStructured(b); !ok {
		return frame{}, false
	}
	// rsyslogd leaves the space that stood behind the tag at the beginning.
	f.message = bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimPrefix(b, space), []byte("\xef\xbb\xbf")), " ")
	f.cutName = string(f.program) == "postfix"
	return f, true
}

// named returns a name, nil for what is none: RFC 5424 section 6 writes "-"
// for what is not known, and allows no more than 255 bytes of a host's name
// and fewer of a program's.
func named(b []byte) []byte {
	if string(b) == "-" || len(b) > 255 {
		return nil
	}
	return b
}

var space = []byte(" ")

// maxPID is the largest process id Linux gives out, PID_MAX_LIMIT in proc(5).
const maxPID = 1 << 22

// skipStructured skips STRUCTURED-DATA, RFC 5424 section 6.3.
func skipStructured(b []byte) ([]byte, bool) {
	if rest, ok := bytes.CutPrefix(b, []byte("-")); ok {
		return rest, len(rest) == 0 || rest[0] == ' '
	}
	if len(b) == 0 || b[0] != '[' {
		return nil, false
	}
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			if i+1 == len(b) || b[i+1] == ' ' {
				return b[i+1:], true
			}
			if b[i+1] != '[' {
				return nil, false
			}
		}
	}
	return nil, false
}

// parse3164 reads what follows the priority, RFC 3164 section 4.1.
func parse3164(b []byte, now time.Time, location *time.Location) (f frame) {
	rest, ok := b, false
	if first, after, found := bytes.Cut(b, space); found && len(first) >= len("2026-11-22T00:00:00Z") {
		if f.time, ok = parseStamp(first); ok { // rsyslogd's RSYSLOG_ForwardFormat
			rest = after
		}
	}
	if !ok {
		if f.time, ok = parseTraditional(b, now, location); ok {
			rest = b[len(time.Stamp):]
			rest = bytes.TrimPrefix(rest, space)
		}
	}
	// The name of a host comes before the tag, unless this is from syslog(3).
	// An IPv6 address has colons in it and is no tag.
	host, after, found := bytes.Cut(rest, space)
	if found && ok && isIPv6(host) {
		f.host = host
		if !f.tag(after) {
			f.message = after
		}
		return f
	}
	if f.tag(rest) {
		return f
	}
	if ok && found && f.tag(after) {
		f.host = named(host)
		return f
	}
	f.message = rest
	return f
}

// isIPv6 reports whether b is an IPv6 address.
func isIPv6(b []byte) bool {
	if len(b) > len("0000:0000:0000:0000:0000:ffff:255.255.255.255") || bytes.Count(b, []byte(":")) < 2 {
		return false
	}
	_, err := netip.ParseAddr(string(b))
	return err == nil
}

// maxTag is what RFC 3164 section 4.1.3 allows a tag, and what rsyslogd cuts it
// to when it forwards in that form: "postfix/submissions/smtpd[12345]:" loses
// its colon.
const maxTag = 32

// tag reads "program[pid]: message"; the process id may be missing. A program
// has no white space or bracket in it.
func (f *frame) tag(b []byte) bool {
	if len(b) > maxTag && b[maxTag] == ' ' && f.cutTag(b[:maxTag], b[maxTag+1:]) {
		return true
	}
	i := bytes.IndexAny(b, ": [")
	if i <= 0 || i > 255 {
		return false
	}
	name, rest, pid := b[:i], b[i:], 0
	if rest[0] == '[' {
		end := bytes.IndexByte(rest, ']')
		if end < 0 {
			return false
		}
		n := number(rest[1:end], -1)
		if n < 0 {
			return false
		}
		pid, rest = int(min(n, maxPID)), rest[end+1:]
	}
	if len(rest) == 0 || rest[0] != ':' {
		return false
	}
	f.program, f.pid, f.message = name, pid, bytes.TrimPrefix(rest[1:], space)
	return true
}

// cutTag reads a tag that lost what was beyond maxTag. A process id that may
// have lost digits is none.
func (f *frame) cutTag(tag, message []byte) bool {
	name, rest, found := bytes.Cut(tag, []byte("["))
	if !found || len(name) == 0 || bytes.IndexByte(name, ' ') >= 0 || bytes.IndexByte(name, ':') >= 0 {
		return false
	}
	digits, whole := bytes.CutSuffix(rest, []byte("]"))
	n := number(digits, -1)
	if n < 0 && len(digits) > 0 {
		return false
	}
	if !whole || n < 0 {
		n = 0
	}
	f.program, f.pid, f.message = name, int(min(n, maxPID)), message
	return true
}

// parseStamp reads a time as in RFC 3339, which RFC 5424 section 6.2.3 uses.
func parseStamp(b []byte) (time.Time, bool) {
	if len(b) > len("2026-11-22T00:00:00.123456789+00:00") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	return t, err == nil
}

// parseTraditional reads "Nov 22 00:00:00", which names neither year nor zone.
// It is the latest such time that is not in the future, give or take the day
// that clocks and zones may be wrong by.
func parseTraditional(b []byte, now time.Time, location *time.Location) (time.Time, bool) {
	if len(b) <= len(time.Stamp) || b[len(time.Stamp)] != ' ' {
		return time.Time{}, false
	}
	t, err := time.Parse(time.Stamp, string(b[:len(time.Stamp)]))
	if err != nil {
		return time.Time{}, false
	}
	newest := now.AddDate(0, 0, 1)
	for year := newest.Year(); year > newest.Year()-10; year-- {
		at := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, location)
		if at.Day() == t.Day() && !at.After(newest) { // 29 February is not in every year
			return at, true
		}
	}
	return time.Time{}, false
}
