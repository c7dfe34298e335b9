package intake

import (
	"bytes"
	"errors"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// entry is what is kept of one journal entry. Its slices point into the line
// it was parsed from or into the parser's scratch space.
type entry struct {
	message    []byte
	identifier []byte // SYSLOG_IDENTIFIER, which the program chose
	comm       []byte // _COMM, from the kernel
	unit       []byte // _SYSTEMD_UNIT
	cursor     []byte // __CURSOR
	messageID  []byte // MESSAGE_ID
	machine    []byte // _MACHINE_ID
	host       []byte // _HOSTNAME
	pid        int64  // _PID, from the kernel
	syslogPID  int64  // SYSLOG_PID, which the program chose
	uid        int64  // _UID, −1 if unknown
	dropped    int64  // N_DROPPED: how many messages journald suppressed
	received   int64  // __REALTIME_TIMESTAMP, µs
	sent       int64  // _SOURCE_REALTIME_TIMESTAMP, µs
}

// journalFields are the fields to ask journalctl(1) for; the cursor and the
// time of reception come anyway. They are described in
// systemd.journal-fields(7).
const journalFields = "MESSAGE,MESSAGE_ID,N_DROPPED,SYSLOG_IDENTIFIER,SYSLOG_PID,_COMM,_HOSTNAME,_MACHINE_ID,_PID,_UID,_SYSTEMD_UNIT,_SOURCE_REALTIME_TIMESTAMP"

var errEntry = errors.New("not a journal entry in JSON")

// entryParser parses entries as journalctl -o json writes them, one JSON
// object a line: a value is a string, an array of byte values where it is not
// UTF-8, null where it was too long, or an array of those where the field
// stands more than once, of which the first counts.
type entryParser struct {
	in      []byte
	at      int
	scratch []byte // unescaped text
	e       entry
}

// reset makes the memory of all entries parsed so far free for new ones.
func (p *entryParser) reset() { p.scratch = p.scratch[:0] }

// parse returns what it found in line. The slices in it point into line or
// into the parser's own memory, valid until reset; the entry itself only until
// the next parse.
func (p *entryParser) parse(line []byte) (*entry, error) {
	p.in, p.at = line, 0
	p.e = entry{uid: -1}
	if !p.take('{') {
		return nil, errEntry
	}
	if p.take('}') {
		return p.end()
	}
	for {
		key, ok := p.text()
		if !ok || !p.take(':') || !p.field(key) {
			return nil, errEntry
		}
		if p.take('}') {
			return p.end()
		}
		if !p.take(',') {
			return nil, errEntry
		}
	}
}

func (p *entryParser) end() (*entry, error) {
	p.space()
	if p.at != len(p.in) || len(p.e.cursor) == 0 {
		return nil, errEntry
	}
	return &p.e, nil
}

// field reads the value of key.
func (p *entryParser) field(key []byte) bool {
	v, ok := p.value(0)
	if !ok {
		return false
	}
	e := &p.e
	switch string(key) {
	case "MESSAGE":
		e.message = v
	case "SYSLOG_IDENTIFIER":
		e.identifier = v
	case "_COMM":
		e.comm = v
	case "_SYSTEMD_UNIT":
		e.unit = v
	case "__CURSOR":
		e.cursor = v
	case "MESSAGE_ID":
		e.messageID = v
	case "_MACHINE_ID":
		e.machine = v
	case "_HOSTNAME":
		e.host = v
	case "_PID":
		e.pid = number(v, 0)
	case "SYSLOG_PID":
		e.syslogPID = number(v, 0)
	case "_UID":
		e.uid = number(v, -1)
	case "N_DROPPED":
		e.dropped = number(v, 0)
	case "__REALTIME_TIMESTAMP":
		e.received = number(v, 0)
	case "_SOURCE_REALTIME_TIMESTAMP":
		e.sent = number(v, 0)
	}
	return true
}

// number reads a decimal number that is not negative, else returns other.
func number(b []byte, other int64) int64 {
	if len(b) == 0 || len(b) > 18 {
		return other
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return other
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// value reads any value; of an array of values the first.
func (p *entryParser) value(depth int) (v []byte, ok bool) {
	p.space()
	switch p.peek() {
	case '"':
		return p.text()
	case 'n':
		if !bytes.HasPrefix(p.in[p.at:], []byte("null")) {
			return nil, false
		}
		p.at += len("null")
		return nil, true
	case '[':
		p.at++
		p.space()
		if c := p.peek(); c >= '0' && c <= '9' {
			return p.bytes()
		}
		if depth > 0 {
			return nil, false
		}
		for i := 0; ; i++ {
			one, ok := p.value(depth + 1)
			if !ok {
				return nil, false
			}
			if i == 0 {
				v = one
			}
			if p.take(']') {
				return v, true
			}
			if !p.take(',') {
				return nil, false
			}
		}
	}
	return nil, false
}

// bytes reads the byte values of an array whose bracket was read.
func (p *entryParser) bytes() (v []byte, ok bool) {
	from := len(p.scratch)
	for {
		p.space()
		start, n := p.at, 0
		for c := p.peek(); c >= '0' && c <= '9' && n <= 255; c = p.peek() {
			n = n*10 + int(c-'0')
			p.at++
		}
		if p.at == start || n > 255 {
			return nil, false
		}
		p.scratch = append(p.scratch, byte(n))
		if p.take(']') {
			return p.scratch[from:], true
		}
		if !p.take(',') {
			return nil, false
		}
	}
}

// text reads a string; without escapes it is a part of the line.
func (p *entryParser) text() (v []byte, ok bool) {
	if !p.take('"') {
		return nil, false
	}
	rest := p.in[p.at:]
	i := bytes.IndexByte(rest, '"')
	if i < 0 {
		return nil, false
	}
	if bytes.IndexByte(rest[:i], '\\') < 0 {
		p.at += i + 1
		return rest[:i], true
	}
	from := len(p.scratch)
	for p.at < len(p.in) {
		c := p.in[p.at]
		p.at++
		switch c {
		case '"':
			return p.scratch[from:], true
		case '\\':
			if !p.escape() {
				return nil, false
			}
		default:
			p.scratch = append(p.scratch, c)
		}
	}
	return nil, false
}

// escape reads what follows a backslash, RFC 8259 section 7.
func (p *entryParser) escape() bool {
	c := p.peek()
	p.at++
	switch c {
	case '"', '\\', '/':
		p.scratch = append(p.scratch, c)
	case 'b':
		p.scratch = append(p.scratch, '\b')
	case 'f':
		p.scratch = append(p.scratch, '\f')
	case 'n':
		p.scratch = append(p.scratch, '\n')
	case 'r':
		p.scratch = append(p.scratch, '\r')
	case 't':
		p.scratch = append(p.scratch, '\t')
	case 'u':
		r, ok := p.hex()
		if !ok {
			return false
		}
		if utf16.IsSurrogate(r) {
			at := p.at
			if bytes.HasPrefix(p.in[p.at:], []byte(`\u`)) {
				p.at += 2
				if low, ok := p.hex(); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						p.scratch = utf8.AppendRune(p.scratch, both)
						return true
					}
				}
			}
			p.at = at
		}
		p.scratch = utf8.AppendRune(p.scratch, r)
	default:
		return false
	}
	return true
}

func (p *entryParser) hex() (rune, bool) {
	if p.at+4 > len(p.in) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.in[p.at:p.at+4]), 16, 16)
	p.at += 4
	return rune(n), err == nil
}

func (p *entryParser) peek() byte {
	if p.at < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

func (p *entryParser) space() {
	for c := p.peek(); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = p.peek() {
		p.at++
		if p.at >= len(p.in) {
			return
		}
	}
}

// take consumes c, after white space, if it comes next.
func (p *entryParser) take(c byte) bool {
	p.space()
	if p.peek() != c || p.at >= len(p.in) {
		return false
	}
	p.at++
	return true
}

// time is when the program wrote the entry, or, where journald does not know
// that, when journald received it.
func (e *entry) time() time.Time {
	us := e.sent
	if us == 0 {
		us = e.received
	}
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// process is what a log file would show in brackets, or, if the program did
// not say, the process that wrote the entry.
func (e *entry) process() int {
	if e.syslogPID > 0 {
		return int(e.syslogPID)
	}
	return int(e.pid)
}

// program is the identifier to dispatch on.
func (e *entry) program() []byte {
	if len(e.identifier) > 0 {
		return e.identifier
	}
	return e.comm
}
