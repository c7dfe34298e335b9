package maillog

import "bytes"

// postfixOther counts a line of smtpd or postscreen that no pattern knows, if
// it names an address and is none of those that are known to say nothing.
func (p *Parser) postfixOther(r *record) {
	if !isPostfixNoise(r.text) && hasBracketedAddr(r.text) {
		p.puzzled(r)
	}
}

// isPostfixNoise reports whether text is known to tell of nothing that
// counts: the end of sessions, limits, TLS, junk in the place of commands,
// postscreen's tests, and what Postfix says with -v or debug_peer_list.
func isPostfixNoise(text []byte) bool {
	if isPostfixPhrase(text) {
		return true
	}
	text, warning := skipWord(text, "warning: ")
	if warning {
		if hasAnyPrefix(text, "hostname ", "numeric ", "non-SMTP command from ", "Illegal address syntax from ",
			"Connection ", "Message delivery request rate ", "Recipient address rate ", "New TLS session rate ", "AUTH command rate ",
			"address not listed for hostname ", "bad ETRN ", "reject: ETRN ", "don't know ", "Refusing ", "Wrapper-mode request dropped ",
			"SASL ", "TLS library problem", "haproxy read: ", "milter ", "malformed ", "write [", "dnsblog reply timeout ") {
			return true
		}
	}
	if id, rest := queueID(text); id != nil {
		return isPostfixAction(rest)
	}
	if isFunction(text) {
		return true
	}
	// postscreen_access_list, whose two lists have had other names until 3.6
	if list, rest, found := bytes.Cut(text, []byte("LIST")); found && len(list) <= len("ALLOW") && hasAnyPrefix(rest, "ED [", " VETO [") {
		return true
	}
	// CLIENT: what tls_server.c and tls_verify.c say with smtpd_tls_loglevel =
	// 2, or that a command filter was at work
	if hasPrefix(text, "[") {
		return index(text, "]: discarding EHLO keywords: ") > 0 || index(text, ": replacing command ") > 0
	}
	if _, rest, ok := readPostfixClient(text); ok {
		return hasAnyPrefix(rest, ": TLS ", ": Reusing ", ": looking up ", ": save ", ": remove ", ": subject_CN=", ": Issuing ",
			": depth=", ": verify=", ": Matched ", ": certificate ", ": raw public key ", ": replacing command ", ": re-using ")
	}
	return false
}

// isPostfixPhrase reports whether text begins as one of those lines does that
// stand for themselves.
func isPostfixPhrase(text []byte) bool {
	switch text[0] {
	case '<', '>':
		return hasAnyPrefix(text, "< ", "> ")
	case 'A':
		return hasPrefix(text, "Anonymous TLS ")
	case 'B':
		return hasAnyPrefix(text, "BARE NEWLINE from [", "BDAT without valid RCPT from [")
	case 'C':
		return hasAnyPrefix(text, "CONNECT from [", "COMMAND ")
	case 'D':
		return hasAnyPrefix(text, "DNSBL rank ", "DATA without valid RCPT from [")
	case 'H':
		return hasPrefix(text, "HANGUP after ")
	case 'N':
		return hasPrefix(text, "NON-SMTP COMMAND from [")
	case 'P':
		return hasAnyPrefix(text, "PASS OLD [", "PASS NEW [", "PREGREET ")
	case 'S':
		return hasAnyPrefix(text, "SSL_accept error from ", "SSL_set_fd error ", "SSL3 alert ")
	case 'T', 'U', 'V':
		return hasAnyPrefix(text, "Trusted TLS ", "Untrusted TLS ", "Verified TLS ")
	case 'c':
		return hasPrefix(text, "certificate verification failed for ")
	case 'i':
		return hasPrefix(text, "improper command pipelining after ")
	case 'p':
		return hasAnyPrefix(text, "proxy-accept: ", "proxy-reject: ")
	case 'r':
		return hasPrefix(text, "reject: connect from [")
	case 's':
		return hasPrefix(text, "setting up TLS connection from ")
	case 't':
		return hasAnyPrefix(text, "timeout after ", "too many errors after ")
	case 'u':
		return hasPrefix(text, "using backwards-compatible default setting ")
	}
	return false
}

// isPostfixAction reports whether rest is what smtpd or postscreen do to a
// message or an attempt at one, as log_whatsup() and check_milter_reply()
// write it. Those that count have been read before.
func isPostfixAction(rest []byte) bool {
	return hasAnyPrefix(rest, "reject: ", "reject_warning: ", "milter-reject: ", "lost connection after ", "timeout after ", "too many errors after ",
		"permit: ", "warn: ", "info: ", "hold: ", "filter: ", "redirect: ", "bcc: ", "discard: ", "hangup: ", "milter-hold: ", "milter-discard: ",
		"abort: TLS from ", "malformed BDAT ", "null BDAT ", "BDAT request from ", "too much BDAT ", "queue file size limit ")
}

// isFunction reports whether text begins with the name of one of Postfix's
// functions, as it does with -v: "smtpd_check_rewrite: trying: …". Two such
// lines speak without: "warning: valid_hostname: …" of a name that a client's
// reverse zone has, and "generic_checks: …".
func isFunction(text []byte) bool {
	underscores := 0
	for _, c := range text {
		switch {
		case c == '_':
			underscores++
		case c == ':':
			return underscores > 0
		case !isDigit(c) && (c < 'a' || c > 'z'):
			return false
		}
	}
	return false
}
