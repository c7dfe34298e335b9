package mixlog

import (
	"time"

	"weir/policy"
)

// Exim 4.92 to 4.98 that logs to syslog, with log_selector = +smtp_connection
// +incoming_interface. Formats are those of src/smtp_in.c, src/receive.c,
// src/deliver.c.

type exim struct{}

// exim begins a line. Exim puts its own stamp before the text (syslog_timestamp).
func (g *Generator) exim(at int64, h *host, pid int) *line {
	l := g.line(at, h, "exim", pid)
	l.b.text = g.options.Start.Add(time.Duration(g.within(at)/second)*time.Second).AppendFormat(l.b.text, "2006-01-02 15:04:05 ")
	return l
}

// twice writes a refusal, which Exim writes to its main log and to its reject
// log, and so to syslog twice. It tells of one event.
func (g *Generator) twice(at int64, h *host, pid int, e policy.Event, write func(*line)) {
	l := g.exim(at, h, pid)
	write(l)
	l.event(e)
	write(g.exim(at+50, h, pid))
}

// eximClient writes "NAME (HELO) [ADDRESS]:PORT I=[ADDRESS]:PORT".
func (l *line) eximClient(h *host, v *visit, port, lport int) *line {
	if v.who.name != "unknown" {
		l.str(v.who.name).str(" ")
	}
	if v.who.name != v.who.helo {
		l.str("(").str(v.who.helo).str(") ")
	}
	return l.eximAddress(h, v, port, lport)
}

func (l *line) eximAddress(h *host, v *visit, port, lport int) *line {
	return l.str("[").str(v.who.text).str("]:").num(port).str(" I=[").addr(h.lip(&v.who)).str("]:").num(lport)
}

func (exim) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	port, lport, service := r.between(1024, 65535), 25, "smtp"
	if v.service != "smtp" {
		lport, service = 587, "submission"
	}
	event := func(k policy.Kind, user string, recipients int) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: service, Server: "exim", Recipients: recipients}
	}
	l := g.exim(at, h, h.own.exim).str("SMTP connection from ").eximAddress(h, v, port, lport).str(" (TCP/IP connection count = ").num(r.between(1, 40)).str(")")
	l.event(event(policy.Connection, "", 0))
	pid := h.once()
	at += g.think(50*millisecond, 500*millisecond)
	if v.who.name == "unknown" && r.chance(50) {
		g.exim(at, h, pid).str("no host name found for IP address ").str(v.who.text)
	}
	if v.rude && (r.chance(5) || !h.heloRefused) {
		// Exim is strict about HELO names, and once it has shown that, no name
		// of a user can be taken for one.
		h.heloRefused = true
		g.exim(at, h, pid).str("rejected EHLO from ").eximAddress(h, v, port, lport).str(": syntactically invalid argument(s): x_y")
	}
	for i, user := range v.failed {
		if i > 0 {
			at += g.think(2*second, 6*second)
		}
		at += g.think(50*millisecond, 500*millisecond)
		if h.authDown > at {
			g.exim(at, h, pid).str("plain_server authenticator failed for ").eximClient(h, v, port, lport).
				str(": 435 Unable to authenticate at present (set_id=").str(user).str("): failed to connect to database")
			continue
		}
		g.twice(at, h, pid, event(policy.AuthFailure, user, 0), func(l *line) {
			l.str("plain_server authenticator failed for ").eximClient(h, v, port, lport).str(": 535 Incorrect authentication data (set_id=").str(user).str(")")
		})
	}
	if v.user != "" && len(v.failed) > 0 {
		at += g.think(3*second, 9*second)
	}
	if v.user == "" || h.authDown <= at {
		for i, m := range v.mails {
			at = g.eximMail(h, at, pid, v, m, i == 0, port, lport, event)
		}
	}
	for range v.unknown {
		at += g.think(30*millisecond, 400*millisecond)
		from, to := pick(r, g.people.strange), r.below(1e6)
		g.twice(at, h, pid, event(policy.UnknownRecipient, "", 0), func(l *line) {
			l.str("H=").eximClient(h, v, port, lport).str(" F=<").str(from).str("> rejected RCPT <x").num(to).str("@example.org>: Unrouteable address")
		})
	}
	at += g.think(10*millisecond, 300*millisecond)
	if v.rude {
		g.exim(at, h, pid).str("SMTP connection from ").eximClient(h, v, port, lport).str(" lost D=").num(r.below(30)).str("s")
	} else {
		g.exim(at, h, pid).str("SMTP connection from ").eximClient(h, v, port, lport).str(" closed by QUIT")
	}
	if len(v.mails) == 0 {
		g.exim(at+100, h, pid).str("no MAIL in SMTP connection from ").eximClient(h, v, port, lport).str(" D=").num(r.below(30)).str("s C=EHLO,AUTH,QUIT")
	}
	return at
}

// eximID writes a message ID: time, process and fraction, in base 62.
func (l *line) eximID(at int64, pid int) *line {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	put := func(n int64, width int) {
		var b [6]byte
		for i := width - 1; i >= 0; i-- {
			b[i] = digits[n%62]
			n /= 62
		}
		l.b.text = append(l.b.text, b[:width]...)
	}
	put(1_795_000_000+at/second, 6)
	l.b.text = append(l.b.text, '-')
	put(int64(pid), 6)
	l.b.text = append(l.b.text, '-')
	put(at%second/2000, 2)
	return l
}

// eximMail is a message that Exim takes, and its deliveries. Without
// received_recipients, the message counts for one recipient, and the first
// try for each of the others for one more.
func (g *Generator) eximMail(h *host, at int64, pid int, v *visit, m mail, first bool, port, lport int, event func(policy.Kind, string, int) policy.Event) int64 {
	r := &g.random
	at += g.think(100*millisecond, 800*millisecond)
	born := at
	to := make([]string, m.recipients)
	for i := range to {
		to[i] = g.recipient(m.local, i)
	}
	l := g.exim(at, h, pid).eximID(born, pid).str(" <= ").str(m.from).str(" H=").eximClient(h, v, port, lport)
	switch {
	case v.user != "" && v.tls:
		l.str(" P=esmtpsa X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256 CV=no A=plain_server:").str(v.user)
	case v.user != "":
		l.str(" P=esmtpa A=plain_server:").str(v.user)
	case v.tls:
		l.str(" P=esmtps X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256 CV=no")
	default:
		l.str(" P=esmtp")
	}
	l.str(" S=").num(1000+r.skewed(200000)).str(" id=").hex(r.next(), 16).str("@").str(v.who.name)
	told := 1
	if h.recipients {
		told = m.recipients
		l.str(" for")
		for _, name := range to {
			l.str(" ").str(name)
		}
	}
	if v.user != "" && first {
		l.event(event(policy.AuthSuccess, v.user, 0))
	}
	l.event(event(policy.Message, v.user, told))
	message := l.told()
	done, tried := at+g.think(100*millisecond, second), h.once()
	for i, name := range to {
		if r.chance(30) {
			done += g.think(10*millisecond, second)
		}
		deferred := !m.local && r.chance(4)
		l := g.exim(done, h, tried).eximID(born, pid)
		switch {
		case m.local:
			l.str(" => ").str(name).str(" R=dovecot_user T=dovecot_lmtp C=\"250 2.0.0 <").str(name).str("> Saved\"")
		case deferred:
			l.str(" == ").str(name).str(" R=dnslookup T=remote_smtp defer (-44) H=mail7.provider.example [198.18.7.7]: SMTP error from remote mail server after RCPT TO:<").
				str(name).str(">: 451 4.7.1 Greylisted")
		default:
			l.str(" => ").str(name).str(" R=dnslookup T=remote_smtp H=mail7.provider.example [198.18.7.7] X=TLS1.3:ECDHE_X25519__ECDSA_SECP256R1_SHA256__AES_256_GCM:256 CV=yes C=\"250 2.0.0 Ok: queued as ").
				hex(r.next(), 10).str("\"")
		}
		if i >= told {
			l.further(event(policy.Message, v.user, 1), message)
		}
		if deferred { // a queue runner tries again: the same recipient
			again := done + g.think(100*second, 300*second)
			g.exim(again, h, h.once()).eximID(born, pid).str(" => ").str(name).str(" R=dnslookup T=remote_smtp H=mail7.provider.example [198.18.7.7] C=\"250 OK\"")
		}
	}
	g.exim(done+g.think(310*second, 320*second), h, tried).eximID(born, pid).str(" Completed")
	return at
}

// recipient returns a recipient, a different one for each i.
func (g *Generator) recipient(local bool, i int) string {
	if local {
		return g.people.accounts[(g.random.below(len(g.people.accounts)/20)*20+i)%len(g.people.accounts)].name
	}
	n := len(g.people.strange)
	return g.people.strange[(g.random.below(n/128)*128+i)%n]
}
