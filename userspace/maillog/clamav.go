package maillog

import "weir/policy"

const clamavServer = "clamav"

// clamavMilter reads what clamav-milter says with LogInfected = Full
// (clamav-milter/clamfi.c):
//
//	Message QUEUEID from <SENDER> to <RECIPIENTS> with subject '…' message-id '…' date '…' infected by VIRUS
//
// Only an infected message is told of so, and the queue ID stands before
// what the sender chooses. With Basic it is missing.
func (p *Parser) clamavMilter(r *record, out []policy.Event) []policy.Event {
	rest, ok := skipWord(r.text, "Message ")
	if !ok {
		return out
	}
	n := leadingAlnum(rest)
	if !hasPrefix(rest[n:], " from <") {
		return out
	}
	m, ok := p.submitter(r, rest[:n])
	if !ok {
		return out
	}
	p.found(clamavInfected)
	return p.emitContent(r, rest[:n], m, clamavServer, out)
}
