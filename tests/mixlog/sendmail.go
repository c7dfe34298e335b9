package mixlog

import (
	"net/netip"

	"weir/policy"
)

// Sendmail 8.16 to 8.18 at its usual LogLevel, 9, which tells of no
// connections. Formats are those of sendmail/srvrsmtp.c, envelope.c and
// deliver.c.

type sendmail struct{}

const sendmailProgram = "sm-mta"

// envelope names a message that a session is filling, or nothing yet: the
// next one has the next ID.
type envelope struct {
	at  int64
	pid int
}

func (l *line) envelope(e envelope) *line {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
	for _, n := range [...]int64{6, 10, 19 + e.at/second/86400, e.at / second / 3600 % 24, e.at / second / 60 % 60, e.at / second % 60, e.at / 1000 / 60 % 60, e.at / 1000 % 60} {
		l.b.text = append(l.b.text, digits[n%60])
	}
	for unit := 100000; unit > 0; unit /= 10 {
		l.b.text = append(l.b.text, byte('0'+e.pid/unit%10))
	}
	return l
}

// sendmailClient writes NAME [ADDRESS], or the address alone.
func (l *line) sendmailClient(p *peer) *line {
	if p.name != "unknown" {
		l.str(p.name).str(" ")
	}
	return l.str("[").sendmailAddress(p.addr).str("]")
}

// sendmailAddress writes IPv6 with all its groups.
func (l *line) sendmailAddress(a netip.Addr) *line {
	if a.Is4() {
		return l.addr(a)
	}
	l.str("IPv6")
	b := a.As16()
	for i := 0; i < 16; i += 2 {
		l.b.text = append(l.b.text, ':')
		begun := false
		for shift := 12; shift >= 0; shift -= 4 {
			n := (int(b[i])<<8 | int(b[i+1])) >> shift & 15
			if begun = begun || n > 0 || shift == 0; begun {
				l.b.text = append(l.b.text, "0123456789abcdef"[n])
			}
		}
	}
	return l
}

func (sendmail) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	id := envelope{at, h.once()}
	begin := func() *line { return g.line(at, h, sendmailProgram, id.pid) }
	event := func(k policy.Kind, service, user string, recipients int) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: service, Server: "sendmail", Recipients: recipients}
	}
	daemon, service := "MTA-v4", "smtp"
	if v.service != "smtp" {
		daemon, service = "TLSMTA", "submission"
	}
	at += g.think(50*millisecond, 500*millisecond)
	if v.tls {
		begin().str("STARTTLS=server, relay=").sendmailClient(&v.who).str(", version=TLSv1.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384, bits=256/256")
	}
	for _, name := range v.failed {
		at += g.think(2*second, 6*second)
		if h.authDown > at {
			begin().envelope(id).str(": AUTH failure (LOGIN): generic failure (-1) SASL(-1): generic failure: checkpass failed, user=").octal(name).
				str(", relay=").sendmailClient(&v.who)
			continue
		}
		l := begin().envelope(id).str(": AUTH failure (LOGIN): ")
		if g.people.has(name) {
			l.str("authentication failure (-13) SASL(-13): authentication failure: checkpass failed")
		} else {
			l.str("user not found (-20) SASL(-13): user not found: checkpass failed")
		}
		user := len(l.str(", user=").b.text)
		l.octal(name)
		told := string(l.b.text[user:])
		l.str(", relay=").sendmailClient(&v.who)
		l.event(event(policy.AuthFailure, "smtp", told, 0))
	}
	mails := v.mails
	switch {
	case v.user != "" && h.authDown > at:
		mails = nil
	case v.user != "":
		at += g.think(3*second, 9*second)
		begin().str("AUTH=server, relay=").sendmailClient(&v.who).str(", authid=").str(v.user).str(", mech=LOGIN, bits=0").
			event(event(policy.AuthSuccess, "smtp", v.user, 0))
	}
	for range v.unknown {
		at += g.think(30*millisecond, 400*millisecond)
		begin().envelope(id).str(": <").str(pick(r, g.people.guesses)).str(">... User unknown")
	}
	unknown := func(l *line) { // are told of with the line that names the client
		for range v.unknown {
			l.event(event(policy.UnknownRecipient, service, "", 0))
		}
		v.unknown = 0
	}
	from := func(sender string, size, recipients int) *line {
		return begin().envelope(id).str(": from=<").str(sender).str(">, size=").num(size).str(", class=0, nrcpts=").num(recipients)
	}
	for _, m := range mails {
		at += g.think(100*millisecond, 900*millisecond)
		l := from(m.from, 1000+r.skewed(200000), m.recipients).str(", msgid=<").hex(r.next(), 16).str("@").str(v.who.name).str(">, proto=ESMTP, daemon=").str(daemon).
			str(", relay=").sendmailClient(&v.who)
		unknown(l)
		l.event(event(policy.Message, service, v.user, m.recipients))
		g.sendmailDeliveries(h, at, id, m)
		id.at += millisecond
	}
	if v.unknown > 0 {
		l := from(pick(r, g.people.strange), 0, 0).str(", proto=ESMTP, daemon=").str(daemon).str(", relay=").sendmailClient(&v.who)
		unknown(l)
	} else if len(mails) == 0 {
		at += g.think(10*millisecond, 300*millisecond)
		begin().envelope(id).str(": ").sendmailClient(&v.who).str(" did not issue MAIL/EXPN/VRFY/ETRN during connection to ").str(daemon)
	}
	return at
}

// sendmailDeliveries are one line for all recipients of a site.
func (g *Generator) sendmailDeliveries(h *host, at int64, id envelope, m mail) {
	r, pid := &g.random, h.once()
	for n := 0; n < m.recipients; {
		at += g.think(50*millisecond, 900*millisecond)
		l := g.line(at, h, sendmailProgram, pid).envelope(id).str(": to=")
		for i := range min(r.between(1, 8), m.recipients-n) {
			if i > 0 {
				l.str(",")
			}
			l.str("<").str(g.recipient(m.local, n)).str(">")
			n++
		}
		if m.local {
			l.str(", delay=00:00:01, xdelay=00:00:00, mailer=local, pri=60382, dsn=2.0.0, stat=Sent")
		} else {
			l.str(", ctladdr=<").str(m.from).str("> (1000/1000), delay=00:00:01, xdelay=00:00:01, mailer=esmtp, pri=60382, relay=mail7.provider.example. [198.18.7.7], dsn=2.0.0, stat=Sent (Ok: queued as ").
				hex(r.next(), 10).str(")")
		}
	}
}

// octal writes a name with what does not print as backslash and octal digits.
func (l *line) octal(name string) *line {
	for i := range len(name) {
		if c := name[i]; c >= 0x7f || c < ' ' {
			l.b.text = append(l.b.text, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		} else {
			l.b.text = append(l.b.text, c)
		}
	}
	return l
}
