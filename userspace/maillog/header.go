package maillog

import "bytes"

// splitHeader finds the parts of a line as syslog daemons, Dovecot itself and
// Exim itself write it:
//
//	Nov 22 00:20:01 host prog[pid]: text     (RFC 3164 section 4.1.2)
//	Nov 22 00:20:01.5 host prog: text   (journalctl -o short-precise)
//	Nov 22 00:20:01 host mail.info prog[pid]: text (BusyBox's syslogd)
//	2026-11-22T00:20:01.5+01:00 host prog: text (rsyslog, RFC 3339)
//	Nov 22 00:20:01 imap-login: Info: text   (Dovecot's log_path)
//	2026-11-22 00:20:01 dovecot: imap-login: text
//	2026-11-22 00:20:01 text                 (Exim's main log)
//	2026/11/22 00:20:01 [info] text          (nginx's error log)
//	2026-11-22 00:20:01 #PID(WORKER) text    (rspamd's own log)
//	[22-Nov-2026 00:20:01 +0000]: text       (Roundcube's logs)
//	Nov 22 00:20:01 sogod [1234]: text       (SOGo's log)
//	2026-11-22T00:20:01Z INFO text           (Stalwart's log)
//
// An RFC 3164 priority "<22>" may stand before. It only looks at the stamp's
// shape; clock reads it if there is need.
func splitHeader(line []byte, r *record) bool {
	line = trimEnd(line)
	n := stampLen(line)
	if n == 0 {
		line = trimFront(line)
		if n = stampLen(line); n == 0 {
			return splitOwn(line, r)
		}
	}
	if n+1 >= len(line) {
		return false
	}
	r.stamp = line[:n]
	whole := line
	line = line[n+1:]
	if whole[n-1] == 'Z' {
		if text := stalwartText(line); text != nil {
			r.dialect, r.text = stalwartDialect, text
			return true
		}
	}

	// A word that ends in a colon is a program, and no host stands before it.
	// Nor does one where the word has bytes that no host name has: Dovecot's
	// own log has "auth(NAME,ADDRESS)…", and NAME is the client's choice.
	n = hostLen(line)
	if n == 0 || n == len(line) || line[n] != ' ' || line[n-1] == ':' {
		if line[0] == ' ' || bytes.IndexByte(line, ' ') < 0 {
			return false
		}
		if isRspamdHead(line) {
			r.dialect, r.text = rspamdDialect, line
			return true
		}
		return splitProgram(line, r) || splitMainlog(whole, r)
	}
	if line[n+1] == '[' && string(line[:n]) == "sogod" {
		return splitProgram(line, r)
	}
	r.host = line[:n]
	line = line[n+1:]
	return splitProgram(line, r) || splitMainlog(whole, r) || splitProgram(behindPriority(line), r)
}

// trimFront returns what stands behind a priority "<22>", and behind what a
// crash left of a block that was never written.
func trimFront(line []byte) []byte {
	for len(line) > 0 && line[0] == 0 {
		line = line[1:]
	}
	rest, ok := skipWord(line, "<")
	_, digits := leadingUint(rest)
	rest, ok2 := skipWord(rest[digits:], ">")
	if !ok || !ok2 || digits == 0 || digits > 3 {
		return line
	}
	return rest
}

// behindPriority returns what stands behind "FACILITY.LEVEL ", which BusyBox's
// syslogd writes in words (sysklogd/syslogd.c), nil if b does not begin so.
func behindPriority(b []byte) []byte {
	word, rest, _ := bytes.Cut(b, []byte(" "))
	facility, level, _ := bytes.Cut(word, []byte("."))
	for _, c := range facility {
		if !isAlnum(c) {
			return nil
		}
	}
	switch string(level) {
	case "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug":
		return rest
	}
	return nil
}

// splitMainlog takes a line that names no program for one of Exim's own log,
// if the stamp is as Exim writes it. Whether it is one, the text will show.
func splitMainlog(line []byte, r *record) bool {
	n := eximStampLen(line)
	if n == 0 {
		return false
	}
	*r = record{stamp: line[:n], mainlog: true, dialect: eximDialect, text: line[n+1:], number: r.number}
	return true
}

// splitOwn takes a line whose stamp tells the server that writes it.
func splitOwn(line []byte, r *record) bool {
	if nginxStampLen(line) > 0 {
		r.stamp, r.dialect, r.text = line[:nginxStampSize], nginxDialect, line
		return true
	}
	if n := roundcubeStampLen(line); n > 0 {
		r.stamp, r.dialect, r.text = line[1:1+n], roundcubeDialect, line[n+len("[]: "):]
		return true
	}
	return false
}

// splitProgram reads "prog[pid]: text" or "prog: text". What Dovecot's own
// processes write without a host is left whole: there the process is part of
// the text, as it is behind "dovecot: ".
func splitProgram(line []byte, r *record) bool {
	i := 0
	for i < len(line) && !endsProgram(line[i]) {
		i++
	}
	if i == len(line) {
		return false
	}
	r.program = line[:i]
	switch line[i] {
	case ':':
		r.text = trimStart(line[i+1:])
		if r.host == nil && isDovecotProcess(r.program) {
			r.dialect, r.text = dovecotDialect, line
		}
		return true
	case '[':
		pid, digits := leadingUint(line[i+1:])
		rest, ok := skipWord(line[i+1+digits:], "]:")
		r.pid, r.text = uint32(pid), trimStart(rest)
		return ok
	case '(':
		if r.host != nil || !isDovecotProcess(r.program) {
			return false
		}
		r.dialect, r.text = dovecotDialect, line
		return true
	default:
		ok := string(r.program) == "sogod" && hasPrefix(line[i:], " [") && splitProgram(line[i+1:], r)
		r.program = line[:i]
		return ok
	}
}

// endsProgram reports whether c ends a program's name: ' ', '(', ':' or '['.
func endsProgram(c byte) bool {
	const low = 1<<' ' | 1<<'(' | 1<<':'
	return c == '[' || c < 64 && low>>c&1 != 0
}

// isRspamdHead reports whether b begins as rspamd's own log does behind the
// stamp: "#PID(WORKER) ", or with log_severity "[SEVERITY] #PID(WORKER) ".
func isRspamdHead(b []byte) bool {
	if b[0] == '[' {
		n := bytes.IndexByte(b, ' ')
		b = b[n+1:]
	}
	if len(b) == 0 || b[0] != '#' {
		return false
	}
	_, digits := leadingUint(b[1:])
	return digits > 0 && len(b) > digits+1 && b[digits+1] == '('
}

// isDovecotProcess reports whether name is a process of Dovecot that tells of
// logins.
func isDovecotProcess(name []byte) bool {
	switch string(name) {
	case "imap-login", "pop3-login", "submission-login", "managesieve-login", "auth", "auth-worker":
		return true
	}
	return false
}

// hostLen returns how many bytes that a host name or address can have b begins
// with.
func hostLen(b []byte) (n int) {
	const (
		low  = 1<<'.' | 1<<'-' | 1<<':' | 1<<'%' | 0x3ff<<'0'
		high = 1<<('_'-64) | 0x3ffffff<<('A'-64) | 0x3ffffff<<('a'-64)
	)
	for n < len(b) {
		if c := b[n]; c < 64 && low>>c&1 == 0 || c >= 64 && c < 128 && high>>(c-64)&1 == 0 {
			break
		}
		n++
	}
	return n
}

// stampLen returns the length of the stamp that line begins with, if a space
// follows it, and 0 if it begins with none.
func stampLen(line []byte) int {
	if len(line) < 16 {
		return 0
	}
	if line[3] == ' ' {
		n := 15
		if line[5] == ' ' && line[4] != ' ' { // "Nov 2 00:20:01", unpadded
			n = 14
		}
		if line[n-3] != ':' || line[n-6] != ':' || line[n-9] != ' ' {
			return 0
		}
		if line[n] == '.' {
			_, digits := leadingUint(line[n+1:])
			n += len(".") + digits
		}
		if n < len(line) && line[n] == ' ' {
			return n
		}
		return 0
	}
	if line[4] != '-' || line[7] != '-' || (line[10] != 'T' && line[10] != ' ') || line[13] != ':' {
		return 0
	}
	n := bytes.IndexByte(line[11:], ' ')
	if n < len("00:20:01") || n > len("00:20:01.123456789+01:00") {
		return 0
	}
	return 11 + n
}
