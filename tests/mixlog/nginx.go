package mixlog

import (
	"net/netip"
	"time"

	"weir/policy"
)

// nginx as a mail proxy, its error log at the level info sent to syslog.
// Formats are those of src/core/ngx_log.c and src/mail/ngx_mail_handler.c. It
// asks an authentication server, and knows nothing of messages.

type nginx struct{}

// nginx begins a line with nginx's own stamp, for connection number n.
func (g *Generator) nginx(at int64, h *host, level string, n int) *line {
	l := g.line(at, h, "nginx", 0)
	l.b.text = g.options.Start.Add(time.Duration(g.within(at)/second)*time.Second).AppendFormat(l.b.text, "2006/01/02 15:04:05 ")
	return l.str(level).num(h.own.rspamd).str("#").num(h.own.rspamd).str(": *").num(n).str(" ")
}

// nginxPort is where a service is served.
func nginxPort(v *visit) int {
	switch v.service {
	case "smtp":
		return 25
	case "submission":
		return 587
	case "imap":
		return 143
	case "pop3":
		return 110
	default:
		return 4190
	}
}

// socket writes ADDRESS:PORT.
func (l *line) socket(a netip.Addr, port int) *line {
	if a.Is4() {
		return l.addr(a).str(":").num(port)
	}
	return l.str("[").addr(a).str("]:").num(port)
}

func (nginx) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r, n, port := &g.random, h.counted(), nginxPort(v)
	event := func(k policy.Kind, user string) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: v.service, Server: "nginx"}
	}
	l := g.nginx(at, h, "[info] ", n).str("client ").socket(v.who.addr, r.between(1024, 65535)).str(" connected to ").socket(h.lip(&v.who), port)
	l.event(event(policy.Connection, ""))
	client := func(l *line, user string) *line {
		l.str(", client: ").str(v.who.text)
		if v.tls {
			l.str(" using starttls")
		}
		if l.str(", server: ").socket(h.lip(&v.who), port); user != "" {
			l.str(`, login: "`).str(user).str(`"`)
		}
		return l
	}
	refuse := func(answer, user string) *line {
		return client(g.nginx(at, h, "[info] ", n).str(`client login failed: "`).str(answer).str(`" while in http auth state`), user)
	}
	const trouble = "Temporary server problem, try again later"
	for _, user := range v.failed {
		at += g.think(3*second, 6*second)
		if h.authDown > at {
			refuse(trouble, user)
			continue
		}
		refuse("Invalid login or password", user).event(event(policy.AuthFailure, user))
	}
	if v.user != "" {
		at += g.think(3*second, 9*second)
		if h.authDown > at {
			refuse(trouble, v.user)
			return at
		}
	}
	for range v.unknown {
		at += g.think(30*millisecond, 400*millisecond)
		refuse("Recipient unknown", "")
	}
	if v.user == "" && len(v.mails) == 0 {
		g.nginx(at, h, "[info] ", n).str("client timed out (110: Connection timed out) while in auth state, client: ").str(v.who.text).str(", server: ").socket(h.lip(&v.who), port)
		return at
	}
	at += g.think(20*millisecond, 300*millisecond)
	l = client(g.nginx(at, h, "[info] ", n).str("client logged in"), v.user).str(", upstream: 10.0.0.9:").num(1000 + port)
	if v.user != "" {
		l.event(event(policy.AuthSuccess, v.user))
	}
	at += g.think(second, 600*second)
	client(g.nginx(at, h, "[info] ", n).str("proxied session done"), v.user).str(", upstream: 10.0.0.9:").num(1000 + port)
	return at
}
