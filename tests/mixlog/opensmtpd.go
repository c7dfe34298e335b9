package mixlog

import "weir/policy"

// OpenSMTPD 7. Formats are those of usr.sbin/smtpd/smtp_session.c, mda.c and
// mta.c. It names a session by 64 random bits, and never a port.

type openSMTPD struct{}

const openSMTPDProgram = "smtpd"

// openSMTPD begins a line of a session's, or of a delivery's.
func (g *Generator) openSMTPD(at int64, h *host, session uint64) *line {
	return g.line(at, h, openSMTPDProgram, h.own.qmgr).hex(session, 16)
}

func (openSMTPD) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	session := r.next()
	event := func(k policy.Kind, user string, recipients int) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: "smtp", Server: "opensmtpd", Recipients: recipients}
	}
	l := g.openSMTPD(at, h, session).str(" smtp connected address=")
	if v.who.addr.Is4() {
		l.str(v.who.text)
	} else {
		l.str("[").str(v.who.text).str("]")
	}
	if l.str(" host="); v.who.name == "unknown" {
		l.str("<unknown>")
	} else {
		l.str(v.who.name)
	}
	l.event(event(policy.Connection, "", 0))
	if v.tls {
		at += g.think(50*millisecond, 500*millisecond)
		g.openSMTPD(at, h, session).str(" smtp tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256")
	}
	login := func(user, result string) *line {
		at += g.think(2*second, 6*second)
		return g.openSMTPD(at, h, session).str(" smtp authentication user=").str(user).str(" result=").str(result)
	}
	for _, name := range v.failed {
		user := vis(name)
		if h.authDown > at {
			login(user, "tempfail")
			g.openSMTPD(at+second, h, session).str(` smtp failed-command command="AUTH PLAIN (...)" result="421 4.3.0 Temporary failure"`)
			break
		}
		login(user, "permfail").event(event(policy.AuthFailure, user, 0))
		g.openSMTPD(at+second, h, session).str(` smtp failed-command command="AUTH PLAIN (...)" result="535 Authentication failed"`)
		at += second
	}
	mails := v.mails
	if v.user != "" && h.authDown > at {
		login(v.user, "tempfail")
		mails = nil
	} else if v.user != "" {
		login(v.user, "ok").event(event(policy.AuthSuccess, v.user, 0))
	}
	for _, m := range mails {
		at += g.think(20*millisecond, 300*millisecond)
		g.openSMTPDMail(h, at, session, m).event(event(policy.Message, v.user, m.recipients))
		at = g.openSMTPDEnvelopes(h, at, session, m)
	}
	for range v.unknown {
		at += g.think(30*millisecond, 400*millisecond)
		to := pick(r, g.people.guesses)
		l := g.openSMTPD(at, h, session).str(` smtp failed-command command="RCPT TO:<`).str(to).str(`>" result="550 Invalid recipient: <`).str(to).str(`>"`)
		l.event(event(policy.UnknownRecipient, "", 0))
	}
	at += g.think(10*millisecond, 300*millisecond)
	l = g.openSMTPD(at, h, session)
	if v.rude {
		l.str(" smtp disconnected reason=disconnect")
	} else {
		l.str(" smtp disconnected reason=quit")
	}
	return at
}

func (g *Generator) openSMTPDMail(h *host, at int64, session uint64, m mail) *line {
	return g.openSMTPD(at, h, session).str(" smtp message msgid=").hex(session+uint64(at)<<24, 8).str(" size=").num(1000 + g.random.skewed(200000)).
		str(" nrcpt=").num(m.recipients).str(" proto=ESMTP")
}

// openSMTPDEnvelopes is what becomes of a message: an envelope and a delivery
// for each recipient.
func (g *Generator) openSMTPDEnvelopes(h *host, at int64, session uint64, m mail) int64 {
	r := &g.random
	delivery := at
	for i := range m.recipients {
		to, id := g.recipient(m.local, i), r.next()
		g.openSMTPD(at, h, session).str(" smtp envelope evpid=").hex(id, 16).str(" from=<").str(m.from).str("> to=<").str(to).str(">")
		delivery += g.think(10*millisecond, 400*millisecond)
		l := g.openSMTPD(delivery, h, r.next())
		if m.local {
			l.str(" mda delivery evpid=").hex(id, 16).str(" from=<").str(m.from).str("> to=<").str(to).str("> rcpt=<").str(to).str("> user=vmail delay=0s result=Ok stat=Delivered")
		} else {
			l.str(" mta delivery evpid=").hex(id, 16).str(" from=<").str(m.from).str("> to=<").str(to).str("> rcpt=<-> source=\"10.0.0.6\" relay=\"198.18.7.7 (mail7.provider.example)\" delay=1s result=\"Ok\" stat=\"250 2.0.0 Ok: queued\"")
		}
	}
	return at + millisecond
}

// vis writes a name as strnvis(3) does with VIS_WHITE:
// blanks and what does not print as backslash sequences.
func vis(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && name[i] > ' ' && name[i] < 0x7f && name[i] != '\\'
	}
	if plain {
		return name
	}
	var b []byte
	for i := range len(name) {
		switch c := name[i]; {
		case c == ' ':
			b = append(b, `\040`...)
		case c == '\\':
			b = append(b, `\\`...)
		case c >= 0x80+' ':
			b = append(b, '\\', 'M', '-', c&0x7f)
		case c >= 0x80:
			b = append(b, '\\', 'M', '^', c&0x7f+'@')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
