package maillog

import "weir/policy"

// cleanup reads what a content filter makes Postfix say (src/cleanup/cleanup_milter.c):
//
//	QUEUEID: milter-reject: END-OF-MESSAGE from CLIENT: 5.7.1 TEXT; from=<SENDER> to=<RECIPIENT> proto=ESMTP helo=<HELO>
func (p *Parser) cleanup(r *record, out []policy.Event) []policy.Event {
	id, rest := queueID(r.text)
	if id == nil {
		return out
	}
	rest, ok := skipWord(rest, "milter-reject: END-OF-MESSAGE from ")
	if !ok {
		return out
	}
	source, rest, ok := readPostfixClient(rest)
	if !ok {
		p.puzzled(r)
		return out
	}
	rest, ok = skipWord(rest, ": 5.7.1 ")
	if !ok || !isFilterText(rest) {
		return out
	}
	m, ok := p.submitter(r, id)
	if !ok || m.Source != source {
		return out
	}
	p.found(postfixMilterReject)
	return p.emitContent(r, id, m, postfixServer, out)
}

// isFilterText reports whether a filter refuses a message with this text for
// what is in it. The text is the filter's or its administrator's; other ones
// may mean anything.
func isFilterText(b []byte) bool {
	if hasAnyPrefix(b,
		"Spam message rejected;",   // rspamd, src/libserver/milter_internal.h
		"Gtube pattern;",           // rspamd, src/libmime/message.c
		"Blocked by SpamAssassin;", // spamass-milter
	) {
		return true
	}
	// rspamd, lualib/lua_scanners: the scanner's name, and what it found.
	n := 0
	for n < len(b) && (isAlnum(b[n]) || b[n] == '_' || b[n] == '-') {
		n++
	}
	return n > 0 && hasPrefix(b[n:], `: virus found: "`)
}
