package mixlog

import "weir/policy"

// Content filters: rspamd and clamav-milter before the queue, amavis behind
// it. What they think of a message is an event only if one of our users sent
// it.

// milters are what opendkim, clamav-milter and rspamd say of a message. A bad
// one is marked, or refused: then Postfix's cleanup says so again. They report
// whether the message may pass.
func (g *Generator) milters(h *host, at int64, v *visit, service string, id queueID, m mail) (end int64, pass bool) {
	r := &g.random
	at += g.think(5*millisecond, 100*millisecond)
	if h.filter {
		return at, true
	}
	judged := func(server string) policy.Event {
		return policy.Event{Kind: policy.Content, Source: v.who.addr, User: v.user, Service: service, Server: server}
	}
	mine := v.user != "" // one of ours sent it
	g.line(at, h, "opendkim", h.own.opendkim).queue(id).str(": ").str(v.who.name).str(" [").str(v.who.text).str("] not internal")
	at += g.think(20*millisecond, 800*millisecond)
	if m.bad && r.chance(5) {
		l := g.line(at, h, "clamav-milter", h.own.cron).str("Message ").queue(id).str(" from <").str(m.from).str("> to <").str(pick(r, g.people.strange)).
			str("> with subject 'Invoice' message-id '<x@example.org>' date 'Fri, 20 Nov 2026 07:00:00 +0000' infected by Eicar-Test-Signature")
		if mine {
			l.event(judged("clamav"))
		}
		return at, true // it goes to a quarantine, which weir need not know
	}
	refused := m.bad && r.chance(50)
	l := g.line(at, h, "rspamd", h.own.rspamd).str("<").hex(uint64(id.at)<<20, 6).str(">; task; rspamd_task_write_log: id: <").hex(uint64(id.at)<<16, 12).str("@x>, qid: <").
		queue(id).str(">, ip: ").str(v.who.text)
	if mine {
		l.str(", user: ").str(v.user)
	}
	l.str(", from: <").str(m.from).str(">, (default: ")
	switch {
	case refused:
		l.str("T (reject): [18.")
	case m.bad:
		l.str("T (add header): [9.")
	default:
		l.str("F (no action): [0.")
	}
	l.num(r.below(100)).str("/15.00] [BAYES_HAM(-2.40){97.30%;},R_SPF_ALLOW(-0.20){+ip4:198.18.0.0/15;},MIME_GOOD(-0.10){text/plain;},ASN(0.00){asn:64500, ipnet:198.18.0.0/15, country:ZZ;}]), len: ").
		num(1000+r.skewed(90000)).str(", time: ").num(r.between(20, 900)).str(".123ms, dns req: ").num(r.below(60)).str(", digest: <").hex(r.next(), 16).str(">")
	if m.bad && mine {
		l.event(judged("rspamd"))
	}
	if refused {
		at += g.think(100, millisecond)
		g.line(at, h, "postfix/cleanup", g.helper(h, "postfix/cleanup", at)).queue(id).str(": milter-reject: END-OF-MESSAGE from ").client(&v.who).
			str(": 5.7.1 Spam message rejected; from=<").str(m.from).str("> to=<").str(pick(r, g.people.strange)).str("> proto=ESMTP helo=<").str(v.who.helo).str(">")
	}
	return at, !refused
}

// amavis takes a message over SMTP and gives it back, under a new queue ID,
// with that of the old one: it is one message. What is bad it keeps.
func (g *Generator) amavis(h *host, at int64, id queueID, v *visit, service string, m mail) int64 {
	r := &g.random
	at += g.think(300*millisecond, 3*second)
	again := queueID{long: h.longIDs}
	if !m.bad {
		again = g.handedBack(h, at, id, v, m)
	}
	at += 6 * millisecond
	l := g.line(at, h, "amavis", h.own.rspamd).str("(").num(h.own.rspamd).str("-01) ")
	if m.bad {
		l.str("Blocked SPAM {DiscardedInternal,Quarantined}, LOCAL [")
	} else {
		l.str("Passed CLEAN {RelayedInternal}, LOCAL [")
	}
	l.str(v.who.text).str("]:").num(r.between(1024, 65535)).str(" [").str(v.who.text).str("] <").str(m.from).str("> -> <x@example.org>, Queue-ID: ").queue(id).
		str(", mail_id: ").opaque(r.next(), 12).str(", Hits: ").num(r.below(20)).str(", size: ").num(r.skewed(90000))
	if m.bad && v.user != "" {
		l.event(policy.Event{Kind: policy.Content, Source: v.who.addr, User: v.user, Service: service, Server: "amavis"})
	}
	if !m.bad {
		l.str(", queued_as: ").queue(again)
	}
	l.str(", ").num(r.between(200, 3000)).str(" ms")
	at += millisecond
	l = g.line(at, h, "postfix/smtp", g.helper(h, "postfix/smtp", at)).queue(id).str(": to=<x@example.org>, relay=127.0.0.1[127.0.0.1]:10024, delay=0.5, delays=0.1/0.01/0.01/0.4, dsn=2.0.0, status=sent (250 2.")
	if m.bad {
		l.str("7.0 Ok, discarded, id=1-01 - spam)")
	} else {
		l.str("0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as ").queue(again).str(")")
	}
	g.line(at+millisecond, h, "postfix/qmgr", h.own.qmgr).queue(id).str(": removed")
	return at + 2*millisecond
}

// handedBack is the session in which amavis gives a message back.
func (g *Generator) handedBack(h *host, at int64, id queueID, v *visit, m mail) (again queueID) {
	const program = "postfix/smtpd"
	pid := h.serve(program, at)
	g.line(at, h, program, pid).str("connect from localhost[127.0.0.1]").event(policy.Event{
		Kind: policy.Connection, Source: loopback, Service: "smtp", Server: "postfix",
	})
	slot := h.queueSlot(at)
	again = queueID{at, firstInode + slot, h.longIDs}
	g.line(at+millisecond, h, program, pid).queue(again).str(": client=localhost[127.0.0.1], orig_queue_id=").queue(id).str(", orig_client=").client(&v.who)
	at += 2 * millisecond
	g.line(at, h, "postfix/cleanup", g.helper(h, "postfix/cleanup", at)).queue(again).str(": message-id=<").hex(g.random.next(), 16).str("@").str(v.who.name).str(">")
	g.line(at+2*millisecond, h, program, pid).str("disconnect from localhost[127.0.0.1] ehlo=1 xforward=1 mail=1 rcpt=1 data=1 quit=1 commands=6")
	h.done(program, pid, at+2*millisecond)
	g.postfixActive(h, at+3*millisecond, again, m)
	h.slots[slot] = g.postfixDeliveries(h, at+3*millisecond, again, m)
	return again
}
