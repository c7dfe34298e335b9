package maillog

import (
	"bytes"

	"weir/policy"
)

// isEximUnknown reports whether a rejection's reason is that the recipient
// does not exist. The reasons are those of the routers, of Exim's example
// configuration and of common others (cPanel, DirectAdmin), in any case and
// perhaps quoted; or the answer of an inner server that was asked (callout,
// transports/smtp.c):
//
//	…: SMTP error from remote mail server after RCPT TO:<RECIPIENT>: 550 5.1.1 …
//
// "Sender verify failed" is another reason, and so is "relay not permitted".
func isEximUnknown(b []byte) bool {
	whole := b
	b = bytes.TrimSuffix(b, []byte(`"`))
	for _, reason := range [...]string{
		"Unrouteable address", "Unknown user", "User unknown", "No such user", "No such user here", "no such address here",
		"no such person here", "No such person at this address", "Unknown recipient", "Recipient unknown",
	} {
		before := len(b) - len(reason)
		if before > 0 && bytes.EqualFold(b[before:], []byte(reason)) && isBeforeReason(b[:before]) {
			return true
		}
	}
	i := index(whole, ": SMTP error from remote mail server after RCPT TO:<")
	return i >= 0 && (index(whole[i:], ">: 550 5.1.1 ") >= 0 || index(whole[i:], ">: 550-5.1.1 ") >= 0)
}

// isBeforeReason reports whether a reason may follow: b ends with what Exim
// writes before it, or with the code that the administrator's text began with.
func isBeforeReason(b []byte) bool {
	for _, end := range [...]string{": ", `: "`, ": 550 ", " 5.1.1 "} {
		if len(b) >= len(end) && string(b[len(b)-len(end):]) == end {
			return true
		}
	}
	return false
}

// eximNoMail reads what log_selector = +smtp_no_mail tells of a session
// without a message:
//
//	[TFO[*] ]SMTP connection from CLIENT D=DURATION[ A=NAME[:USER]][ X=…][ CV=…][ DN="…"][ SNI=…][ C=COMMANDS]
//
// No other line tells of a login that was not used.
func (p *Parser) eximNoMail(r *record, rest []byte, out []policy.Event) []policy.Event {
	i := index(rest, "SMTP connection from ")
	if i < 0 || i > len("TFO* ") {
		return out
	}
	rest, _ = skipWord(rest[i+len("SMTP connection from "):], "H=")
	if index(rest, " A=") < 0 {
		return out
	}
	c, ok := p.eximClient(rest, isBeforeDuration)
	if !ok || c.ident && bytes.Count(c.rest, []byte(" D=")) > 1 {
		p.puzzled(r)
		return out
	}
	rest = c.rest[len(" D="):]
	rest, ok = skipWord(rest[max(bytes.IndexByte(rest, ' '), 0):], " A=")
	if !ok {
		return out
	}
	for _, next := range [...]string{" X=", " CV=", " DN=", " SNI=", " C="} {
		if i := index(rest, next); i >= 0 {
			rest = rest[:i]
		}
	}
	_, user, _ := bytes.Cut(rest, []byte(":"))
	p.found(eximNoMail)
	if len(user) == 0 {
		return out // an authenticator without server_set_id
	}
	return p.emitSuccess(r, policy.Event{
		Kind: policy.AuthSuccess, Source: c.addr, User: p.users.name(user), Service: c.service, Server: eximServer,
	}, out)
}

func isBeforeDuration(b []byte) bool { return hasPrefix(b, " D=") }
