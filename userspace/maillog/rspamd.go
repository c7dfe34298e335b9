package maillog

import (
	"bytes"

	"weir/policy"
)

// rspamd, from 1.9 on. It writes a line for each message by log_format, whose
// default (conf/logging.inc) has been the same ever since up to the symbols:
//
//	id: <MESSAGEID>, qid: <QUEUEID>, ip: ADDRESS, user: USER, from: <SENDER>, (default: T (ACTION): [SCORE/LIMIT] [SYMBOLS]), len: …
//
// The parts up to "from" are left out where there are none. ADDRESS and USER
// are what the mail server says (milter macros, or headers of a request).
// The message ID is the sender's choice, and has no blank: rspamd replaces
// all but printable ASCII in it (src/libmime/mime_headers.c). So what follows
// the first blank is rspamd's own, up to the user's name.

const rspamdServer = "rspamd"

func (p *Parser) rspamd(r *record, out []policy.Event) []policy.Event {
	rest, ok := rspamdTask(r.text)
	if !ok {
		return out
	}
	rest, ok = skipWord(rest, "id: <")
	n := bytes.IndexByte(rest, ' ')
	if !ok || n < 2 || rest[n-2] != '>' || rest[n-1] != ',' {
		p.puzzled(r) // a log_format of the administrator's
		return out
	}
	rest = rest[n+1:]
	var id []byte
	if q, ok := skipWord(rest, "qid: <"); ok {
		end := bytes.IndexByte(q, '>')
		if end < 0 || !hasPrefix(q[end:], ">, ") {
			return out
		}
		id, rest = q[:end], q[end+len(">, "):]
	}
	rest, ok = skipWord(rest, "ip: ")
	source, n := leadingAddr(rest)
	if !ok || n == 0 {
		return out
	}
	rest, ok = skipWord(rest[n:], ", user: ")
	if !ok {
		return out // nobody logged in
	}
	user, verdict := rspamdUser(rest)
	if len(user) == 0 || !rspamdBad(verdict) {
		return out
	}
	p.found(rspamdVerdict)
	m, ok := p.submitter(r, id)
	if !ok {
		m = queued{Source: source, User: p.users.name(user)}
	}
	return p.emitContent(r, id, m, rspamdServer, out)
}

// rspamdTask returns what rspamd says of a task as a whole. Before it stand
// "<TASK>; MODULE; FUNCTION: ", and where no syslog daemon writes the head of
// the line "[SEVERITY] #PID(WORKER) ", of which the first is optional and
// under systemd the second may be "(WORKER) ".
func rspamdTask(b []byte) ([]byte, bool) {
	if b[0] != '<' {
		n := bytes.IndexByte(b, ' ')
		if n > 0 && b[0] == '[' {
			b = b[n+1:]
			n = bytes.IndexByte(b, ' ')
		}
		if n <= 0 || b[0] != '#' && b[0] != '(' || b[n-1] != ')' {
			return nil, false
		}
		b = b[n+1:]
	}
	n := bytes.IndexByte(b, '>')
	if n <= 0 || b[0] != '<' {
		return nil, false
	}
	b, ok := skipWord(b[n:], ">; ")
	if !ok {
		return nil, false
	}
	for _, module := range [...]string{"task", "proxy"} { // the latter where the proxy scans itself
		if rest, ok := skipWord(b, module); ok {
			return skipWord(rest, "; rspamd_task_write_log: ")
		}
	}
	return nil, false
}

// rspamdUser splits what follows "user: " into the name and what follows it.
// A name like the rest of a line is cut.
func rspamdUser(b []byte) (user, rest []byte) {
	for i, c := range b {
		if c == ',' && (hasPrefix(b[i:], ", from: <") || hasPrefix(b[i:], ", (default: ")) {
			return b[:i], b[i:]
		}
	}
	return nil, nil
}

// rspamdBad reports whether the message was judged to be bad. "(default: " is
// rspamd's own word only between the sender's address and the symbols, both
// of which can hold blanks. But all words behind the user's name come from
// the message that this user submitted, so there is nobody else who could
// be accused by them, and a good verdict among them takes back no bad one.
func rspamdBad(b []byte) bool {
	for {
		i := index(b, "(default: ")
		if i < 0 {
			return false
		}
		b = b[i+len("(default: "):]
		if len(b) < 2 { // T, F, or S where the scan was cut short
			return false
		}
		action, ok := skipWord(b[1:], " (")
		if !ok {
			continue
		}
		// What is not here says nothing of the content: "soft reject" comes
		// of rate limits and the like, "greylist" of not being sure.
		for _, bad := range [...]string{"reject", "add header", "rewrite subject", "quarantine", "discard"} {
			if rest, ok := skipWord(action, bad); ok && hasPrefix(rest, "): [") {
				return true
			}
		}
	}
}
