package mixlog

import (
	"strings"

	"weir/policy"
)

// Cyrus IMAP 3 whose passwords saslauthd checks, for Postfix too. Formats are
// those of imap/imapd.c and saslauthd/saslauthd-main.c. It does not tell of
// connections.

type cyrus struct{}

func (cyrus) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	program, service := "cyrus/imaps", "imap"
	if v.service == "pop3" {
		program, service = "cyrus/pop3s", "pop3"
	}
	pid := h.serve(program, at)
	begin := func() *line { return g.line(at, h, program, pid) }
	event := func(k policy.Kind, user string) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: service, Server: "cyrus"}
	}
	client := func(l *line) *line {
		if v.who.name != "unknown" {
			l.str(v.who.name).str(" ")
		}
		return l.str("[").str(v.who.text).str("]")
	}
	begin().str("starttls: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits new) no authentication")
	for _, user := range v.failed {
		at += g.think(3*second, 6*second)
		if h.authDown > at {
			client(begin().str("badlogin: ")).str(" plaintext (").str(user).str(") [SASL(-1): generic failure: checkpass failed]")
			continue
		}
		at = g.saslauthd(h, at, service, user)
		client(begin().str("badlogin: ")).str(" plaintext (").str(user).str(") [SASL(-13): authentication failure: checkpass failed]").
			event(event(policy.AuthFailure, user))
	}
	if v.user != "" && h.authDown <= at {
		at += g.think(3*second, 9*second)
		client(begin().str("login: ")).str(" ").str(v.user).str(" plaintext+TLS User logged in SESSIONID=<cyrus-").num(int(at / second)).str("-").num(pid).str("-1-").
			num(r.below(1e9)).str(">").event(event(policy.AuthSuccess, v.user))
		at += g.think(100*millisecond, 600*second)
		begin().str("USAGE ").str(v.user).str(" user: 0.0").num(r.between(10000, 99999)).str(" sys: 0.0").num(r.between(10000, 99999))
	}
	h.done(program, pid, at)
	return at
}

// saslauthd tells of a refused password, a millisecond before the server that
// asked it. It knows no client, so that this is no event.
func (g *Generator) saslauthd(h *host, at int64, service, user string) int64 {
	local, realm, _ := strings.Cut(user, "@")
	g.line(at, h, "saslauthd", h.own.opendkim).str("pam_unix(").str(service).str(":auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=  user=").str(local)
	at += g.think(500*millisecond, 2*second)
	g.line(at, h, "saslauthd", h.own.opendkim).str("                : auth failure: [user=").str(local).str("] [service=").str(service).str("] [realm=").str(realm).
		str("] [mech=pam] [reason=PAM auth error]")
	return at + millisecond
}
