package mixlog

import "weir/policy"

// Postfix 3.5 to 3.10. Formats are those of src/smtpd/smtpd.c,
// smtpd_sasl_glue.c, smtpd_check.c, src/postscreen/*.c; postfixqueue.go has
// what happens to a message.

type postfix struct{}

// client writes NAME[ADDRESS].
func (l *line) client(p *peer) *line { return l.str(p.name).str("[").str(p.text).str("]") }

func (postfix) visit(g *Generator, h *host, at int64, v *visit) int64 {
	program, service := "postfix/smtpd", "smtp"
	if v.service != "smtp" {
		program, service = "postfix/submission/smtpd", "submission"
		if v.who.addr.As16()[15]%4 == 0 {
			program = "postfix/smtps/smtpd"
		}
	} else if h.screen {
		at, _ = g.postscreen(h, at, v, "PASS OLD ")
	}
	r := &g.random
	pid := h.serve(program, at)
	if v.who.name == "unknown" && r.chance(20) {
		g.line(at, h, program, pid).str("warning: hostname host-").num(r.below(1e6)).str(".provider.example does not resolve to address ").
			str(v.who.text).str(": Name or service not known")
	}
	g.line(at, h, program, pid).str("connect from ").client(&v.who).event(policy.Event{
		Kind: policy.Connection, Source: v.who.addr, Service: service, Server: "postfix",
	})
	at += g.think(20*millisecond, 200*millisecond)
	if v.tls && (r.chance(97) || v.user != "" || len(v.failed) > 0) {
		at += g.think(20*millisecond, 200*millisecond)
		g.line(at, h, program, pid).str("Anonymous TLS connection established from ").client(&v.who).
			str(": TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256")
	} else if v.tls {
		at += g.think(20*millisecond, 200*millisecond)
		g.line(at, h, program, pid).str("SSL_accept error from ").client(&v.who).str(": -1")
		g.line(at, h, program, pid).str("warning: TLS library problem: error:0A000102:SSL routines::unsupported protocol:ssl/statem/statem_srvr.c:1657:")
	}
	at += g.think(50*millisecond, 500*millisecond)
	for i, user := range v.failed {
		if i > 0 {
			at += g.think(3*second, 6*second)
		}
		at = g.postfixRefusal(h, at, program, pid, service, v, user)
	}
	if v.user != "" {
		if h.authDown > at {
			g.line(at, h, program, pid).str("warning: ").client(&v.who).
				str(": SASL PLAIN authentication failed: Connection lost to authentication server")
			return g.postfixGoodbye(h, at+second, program, pid, v, 1)
		}
		if len(v.failed) > 0 {
			at += g.think(3*second, 9*second)
		}
	}
	for i, m := range v.mails {
		at = g.postfixMail(h, at, program, pid, service, v, m, i == 0)
	}
	for range v.unknown {
		at += g.think(30*millisecond, 400*millisecond)
		recipient := pick(r, g.people.guesses)
		l := g.line(at, h, program, pid).str("NOQUEUE: reject: RCPT from ").client(&v.who).str(": 550 5.1.1 <").str(recipient).
			str(">: Recipient address rejected: User unknown in virtual mailbox table; from=<").str(pick(r, g.people.strange)).
			str("> to=<").str(recipient).str("> proto=ESMTP helo=<").str(v.who.helo).str(">")
		l.event(policy.Event{Kind: policy.UnknownRecipient, Source: v.who.addr, Service: service, Server: "postfix"})
	}
	return g.postfixGoodbye(h, at, program, pid, v, 0)
}

// postfixRefusal is one login that is refused. Where Dovecot's auth process
// tells of it, it tells first.
func (g *Generator) postfixRefusal(h *host, at int64, program string, pid int, service string, v *visit, user string) int64 {
	r := &g.random
	if h.authDown > at {
		if h.saslauthd {
			g.line(at, h, program, pid).str("warning: ").client(&v.who).str(": SASL LOGIN authentication failed: generic failure")
			return at
		}
		g.line(at, h, program, pid).str("warning: SASL: Connect to private/auth failed: Connection refused")
		g.line(at, h, program, pid).str("warning: ").client(&v.who).
			str(": SASL LOGIN authentication failed: Connection lost to authentication server")
		return at
	}
	told := g.authRefusal(h, at, v, user, 0)
	if h.saslauthd {
		at = g.saslauthd(h, at, "smtp", user)
	} else {
		at += 2*second + g.think(millisecond, 30*millisecond) // auth_failure_delay
	}
	l := g.line(at, h, program, pid).str("warning: ").client(&v.who)
	e := policy.Event{Kind: policy.AuthFailure, Source: v.who.addr, Service: service, Server: "postfix"}
	switch {
	case h.saslauthd:
		l.str(": SASL LOGIN authentication failed: authentication failure, sasl_username=").str(user)
		e.User = user
	case h.postfixUser:
		l.str(": SASL ").str(pick(r, []string{"PLAIN", "LOGIN", "LOGIN"})).str(" authentication failed: ")
		if r.chance(50) {
			l.str("UGFzc3dvcmQ6")
		} else {
			l.str("(reason unavailable)")
		}
		l.str(", sasl_username=").str(user)
		e.User = user
	case r.chance(50):
		l.str(": SASL LOGIN authentication failed: UGFzc3dvcmQ6")
	default:
		l.str(": SASL PLAIN authentication failed: ")
	}
	if !told {
		l.event(e)
	}
	return at
}

// postfixGoodbye ends a session.
func (g *Generator) postfixGoodbye(h *host, at int64, program string, pid int, v *visit, refused int) int64 {
	at += g.think(10*millisecond, 300*millisecond)
	refused += len(v.failed)
	if v.rude {
		stage := "CONNECT"
		switch {
		case refused > 0:
			stage = "AUTH"
		case v.unknown > 0:
			stage = "RCPT"
		case v.tls:
			stage = "STARTTLS"
		}
		g.line(at, h, program, pid).str("lost connection after ").str(stage).str(" from ").client(&v.who)
	}
	l := g.line(at, h, program, pid).str("disconnect from ").client(&v.who)
	if !v.rude || v.tls || refused > 0 {
		l.str(" ehlo=1")
	}
	if v.tls {
		l.str(" starttls=1")
	}
	good := len(v.mails)
	switch {
	case refused > 0 && v.user == "":
		l.str(" auth=0/").num(refused)
	case v.user != "":
		l.str(" auth=1/").num(refused + 1)
	}
	if good > 0 {
		l.str(" mail=").num(good).str(" rcpt=").num(good).str(" data=").num(good)
	}
	if v.unknown > 0 {
		l.str(" rcpt=0/").num(v.unknown)
	}
	if !v.rude {
		l.str(" quit=1")
	}
	l.str(" commands=").num(3 + 3*good).str("/").num(3 + 3*good + refused + v.unknown)
	h.done(program, pid, at)
	return at
}

// postscreen is what stands before smtpd, which tells of clients that pass. Of
// the others the last line tells.
func (g *Generator) postscreen(h *host, at int64, v *visit, verdict string) (end int64, port int) {
	port = g.random.between(1024, 65535)
	g.line(at, h, "postfix/postscreen", h.own.screen).str("CONNECT from [").str(v.who.text).str("]:").num(port).
		str(" to [").addr(h.lip(&v.who)).str("]:25")
	at += g.think(100, 3*millisecond)
	if verdict != "" {
		g.line(at, h, "postfix/postscreen", h.own.screen).str(verdict).str("[").str(v.who.text).str("]:").num(port)
	}
	return at + g.think(100, 3*millisecond), port
}

// screened is a client that postscreen, or a block list, refuses.
func (g *Generator) screened(s start) {
	r, h := &g.random, s.host
	v := visit{who: pick(r, g.people.bots), service: "smtp", rude: true}
	if !h.screen || h.kind != postfixHost {
		h.mta.visit(g, h, s.at, &v)
		return
	}
	const program = "postfix/postscreen"
	at, port := g.postscreen(h, s.at, &v, "")
	if r.chance(40) {
		g.line(at, h, program, h.own.screen).str("PREGREET 11 after 0.").num(r.between(1, 99)).str(" from [").str(v.who.text).str("]:").num(port).
			str(": EHLO ").str(v.who.helo).str("\\r\\n")
	}
	if r.chance(60) {
		g.line(at+2*millisecond, h, "postfix/dnsblog", h.own.anvil+1).str("addr ").str(v.who.text).str(" listed by domain zen.dnsbl.example as 127.0.0.").num(r.between(2, 11))
		at += 6 * second
		g.line(at, h, program, h.own.screen).str("DNSBL rank ").num(r.between(3, 9)).str(" for [").str(v.who.text).str("]:").num(port)
		at += g.think(50*millisecond, second)
		g.line(at, h, program, h.own.screen).str("NOQUEUE: reject: RCPT from [").str(v.who.text).str("]:").num(port).
			str(": 550 5.7.1 Service unavailable; client [").str(v.who.text).str("] blocked using zen.dnsbl.example; from=<").
			str(pick(r, g.people.strange)).str(">, to=<").str(pick(r, g.people.accounts).name).str(">, proto=ESMTP, helo=<").str(v.who.helo).str(">")
	} else {
		at += g.think(second, 6*second)
		g.line(at, h, program, h.own.screen).str("HANGUP after ").seconds(g.think(millisecond, 6*second)).str(" from [").str(v.who.text).str("]:").num(port).str(" in tests before SMTP handshake")
	}
	g.line(at+millisecond, h, program, h.own.screen).str("DISCONNECT [").str(v.who.text).str("]:").num(port).event(policy.Event{
		Kind: policy.Connection, Source: v.who.addr, Service: "smtp", Server: "postfix",
	})
}
