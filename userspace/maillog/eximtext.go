package maillog

// eximText takes off what stands before the text in a log of Exim's own, and
// in what it sends to syslog unless syslog_timestamp is off:
//
//	[STAMP[ ZONE] ][[PID] ]TEXT
//
// and joins the parts of a long line. It reports whether there is a text now.
func (p *Parser) eximText(r *record) bool {
	if !r.mainlog {
		if n, last, rest := eximPart(r.text); n > 0 {
			text, ok := p.eximLog.Parts.join(sessionKey(r), n, last, rest)
			if !ok {
				return false
			}
			r.text = text
		}
		if n := eximStampLen(r.text); n > 0 {
			r.text = r.text[n+1:]
		}
	}
	if len(r.text) > 0 && r.text[0] == '[' {
		pid, n := leadingUint(r.text[1:])
		rest, ok := skipWord(r.text[1+n:], "] ")
		if n == 0 || !ok {
			return false
		}
		r.pid, r.text = uint32(pid), rest
	}
	return true
}

// eximStampLen returns the length of "2026-11-22 10:15:02", ".123" with
// log_selector = +millisec, and " +0100" with log_timezone, if line begins
// with that and a space.
func eximStampLen(line []byte) int {
	n := stampLen(line)
	if n == 0 || line[10] != ' ' || line[4] != '-' {
		return 0
	}
	zone := line[n+1:]
	if len(zone) > 5 && (zone[0] == '+' || zone[0] == '-') && zone[5] == ' ' {
		if _, ok := digits(zone[1:5]); ok {
			return n + 6
		}
	}
	return n
}

// eximPart reads "[N/M] " or "[N\M] " before part N of M of a text that is
// long or has several lines. last says that the first line ends with it. n is
// 0 if the text is whole.
func eximPart(b []byte) (n int, last bool, rest []byte) {
	if len(b) < len("[1/2] ") || b[0] != '[' {
		return 0, false, b
	}
	n, length := leadingUint(b[1:])
	b = b[1+length:]
	if length == 0 || len(b) == 0 || b[0] != '/' && b[0] != '\\' {
		return 0, false, nil
	}
	m, length := leadingUint(b[1:])
	rest, ok := skipWord(b[1+length:], "] ")
	if length == 0 || !ok {
		return 0, false, nil
	}
	return n, b[0] == '\\' || n == m, rest
}

// eximParts are the parts of one text that came so far. A process writes them
// in one go, so that one text under way is enough.
type eximParts struct {
	Key  uint64 // of the process; 0: none under way
	Next int
	Text []byte
}

const maxEximText = 8192 // bytes; LOG_BUFFER_SIZE

// join adds part n and returns the first line of the text when it is whole;
// valid until the next call. An attacker chooses where a line is cut, so no
// part is ever read alone.
func (s *eximParts) join(key uint64, n int, last bool, part []byte) ([]byte, bool) {
	if n == 1 {
		s.Key, s.Next, s.Text = key, 1, s.Text[:0]
	}
	if s.Key != key || s.Next != n || len(s.Text)+len(part) > maxEximText {
		s.Key = 0
		return nil, false
	}
	s.Text = append(s.Text, part...)
	s.Next++
	if last {
		s.Key = 0
	}
	return s.Text, last
}

// eximCopy is a refusal that a process has written.
type eximCopy struct {
	Text hash
	Unix int64
}

// isEximCopy reports whether the process has just written the same line. Exim
// writes refusals to its main log and to its reject log, and syslog gets both
// (unless syslog_duplication is off). They come in pairs: a third line tells
// of a second attempt.
func (p *Parser) isEximCopy(r *record, now int64) bool {
	if r.mainlog {
		return false
	}
	key, text := sessionKey(r), newHash.bytes(r.text)
	c := p.eximLog.Copies.get(key)
	if c == nil || c.Text != text || now-c.Unix > skew {
		p.eximLog.Copies.put(key, eximCopy{text, now})
		return false
	}
	p.eximLog.Copies.remove(key)
	return true
}
