package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// amavisd-new, from 2.11 on. Its main entry (log_short_templ and
// log_verbose_templ at the end of the program) is
//
//	(TASK) Blocked SPAM {ACTIONS}, BANKS LOCAL [ADDRESS]:PORT [ADDRESS] <SENDER> -> <RECIPIENTS>, quarantine: …, Queue-ID: QUEUEID, Message-ID: <…>, …
//
// with "Passed" where the message went its way. The first address is that of
// the mail server's client, as XFORWARD or a milter gives it; where it gives
// none, the first is what the message's Received headers say. The queue ID is
// the mail server's, too, but stands behind sender and recipients, who can
// write another one there. So it is believed only if Postfix has that message
// in its queue, from that address: a forger would have to sit behind the same
// address as the user that is to be accused, and guess.
//
// A line of more than 980 bytes ($logline_maxlen) goes on in the next ones,
// which begin with "(TASK) ...". Forty recipients are enough for that.

const amavisServer = "amavis"

// amavisHead is the beginning of an entry whose queue ID has not come yet.
type amavisHead struct {
	Source netip.Addr
	Tail   [48]byte // what its last line ends in: ", Queue-ID: …" may be cut in two
}

const amavisQueueID = ", Queue-ID: "

func (p *Parser) amavis(r *record, out []policy.Event) []policy.Event {
	if r.text[0] != '(' {
		return out
	}
	n := bytes.IndexByte(r.text, ')')
	if n < 0 || n > 32 {
		return out
	}
	rest, ok := skipWord(r.text[n:], ") ")
	if !ok {
		return out
	}
	key := uint64(newHash.bytes(r.host).uint(r.pid).bytes(r.text[:n]))
	if more, ok := skipWord(rest, "..."); ok {
		return p.amavisMore(r, key, more, out)
	}
	rest, ok = amavisBad(rest)
	if !ok {
		return out
	}
	source, rest, ok := amavisClient(rest)
	if !ok {
		return out
	}
	return p.amavisEntry(r, key, source, rest, out)
}

// amavisMore reads a line that goes on with an entry.
func (p *Parser) amavisMore(r *record, key uint64, more []byte, out []policy.Event) []policy.Event {
	head := p.heads.get(key)
	if head == nil {
		return out
	}
	var joined [1280]byte
	n := copy(joined[:], head.Tail[:])
	n += copy(joined[n:], more)
	source := head.Source
	p.heads.remove(key)
	return p.amavisEntry(r, key, source, joined[:n], out)
}

// amavisEntry looks for the queue ID in what follows the client.
func (p *Parser) amavisEntry(r *record, key uint64, source netip.Addr, b []byte, out []policy.Event) []policy.Event {
	for rest := b; ; {
		i := index(rest, amavisQueueID)
		if i < 0 {
			break
		}
		rest = rest[i+len(amavisQueueID):]
		n := leadingAlnum(rest)
		if m, ok := p.submitter(r, rest[:n]); ok && m.Source == source && n < len(rest) && rest[n] == ',' {
			p.found(amavisVerdict)
			return p.emitContent(r, rest[:n], m, amavisServer, out)
		}
	}
	if b, ok := bytes.CutSuffix(b, []byte("...")); ok {
		head := amavisHead{Source: source}
		b = b[max(0, len(b)-len(head.Tail)):]
		copy(head.Tail[len(head.Tail)-len(b):], b)
		p.heads.put(key, head)
	}
	return out
}

// amavisBad reads the verdict and what was done, and reports whether it was
// bad. A file name that is not allowed or a strange header says
// nothing of spam.
func amavisBad(b []byte) ([]byte, bool) {
	b, blocked := skipWord(b, "Blocked ")
	if !blocked {
		var passed bool
		if b, passed = skipWord(b, "Passed "); !passed {
			return nil, false
		}
	}
	if rest, ok := skipWord(b, "INFECTED ("); ok {
		i := index(rest, ") {") // names of viruses stand before
		if i < 0 {
			return nil, false
		}
		b = rest[i+len(") {"):]
	} else if rest, ok := skipWord(b, "SPAM {"); ok {
		b = rest
	} else if rest, ok := skipWord(b, "SPAMMY {"); ok {
		b = rest
	} else {
		return nil, false
	}
	n := bytes.IndexByte(b, '}')
	if n < 0 {
		return nil, false
	}
	return skipWord(b[n:], "},")
}

// amavisClient reads the client's address, behind the names of policy banks.
func amavisClient(b []byte) (source netip.Addr, rest []byte, ok bool) {
	n := 0
	for n < len(b) && b[n] != '[' {
		if b[n] == '<' { // the sender: no client is known
			return source, nil, false
		}
		n++
	}
	if n == len(b) {
		return source, nil, false
	}
	source, length := leadingAddr(b[n+1:])
	rest = b[n+1+length:]
	return source, rest, length > 0 && len(rest) > 0 && rest[0] == ']'
}
