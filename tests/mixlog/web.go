package mixlog

import "weir/policy"

// Webmail: whatever a client of these does is a login on a page.

// roundcube is Roundcube 1.6 with log_logins, to syslog. Formats are those of
// program/lib/Roundcube/rcube_imap.php and program/include/rcmail.php. A
// failure is told by both of its logs, errors first.
type roundcube struct{}

func (roundcube) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	event := func(k policy.Kind, user string) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: "web", Server: "roundcube"}
	}
	begin := func(session uint64) *line {
		return g.line(at, h, "roundcube", 0).str("<").hex(session, 8).str("> ")
	}
	client := func(l *line) *line {
		if l.str(" from ").str(v.who.text); v.who.helo == "[192.0.2.66]" {
			l.str(" (X-Forwarded-For: 192.0.2.66)")
		}
		return l
	}
	for _, user := range v.failed {
		at += g.think(2*second, 9*second)
		session, down := r.next(), h.authDown > at
		l := client(begin(session).str("IMAP Error: Login failed for ").str(user).str(" against localhost"))
		if down {
			l.str(". Could not connect to localhost:143: Connection refused")
		} else {
			l.str(". AUTHENTICATE PLAIN: Authentication failed.").event(event(policy.AuthFailure, user))
		}
		l.str(" in /usr/share/roundcube/program/lib/Roundcube/rcube_imap.php on line 211 (POST /?_task=login&_action=login)")
		at += second
		l = client(begin(session).str("Failed login for ").str(user)).str(" in session ").hex(session, 16)
		if down {
			l.str(" (error: -1)")
		} else {
			l.str(" (error: 0)")
		}
	}
	if v.user != "" && h.authDown <= at {
		at += g.think(3*second, 9*second)
		session := r.next()
		l := client(begin(session).str("Successful login for ").str(v.user).str(" (ID: ").num(1+r.below(5000)).str(")")).str(" in session ").hex(session, 16)
		l.event(event(policy.AuthSuccess, v.user))
	}
	return at
}

// sogo is SOGo 5 behind a proxy that names the client. Formats are those of
// UI/MainUI/SOGoRootPage.m and of SOPE. A third of the clients are calendars
// and telephones, whose failures two lines of one process tell of.
type sogo struct{}

func (sogo) visit(g *Generator, h *host, at int64, v *visit) int64 {
	const program = "sogod"
	r := &g.random
	pid := h.serve(program, at)
	event := func(k policy.Kind, user string) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: "web", Server: "sogo"}
	}
	begin := func() *line { return g.line(at, h, program, pid) }
	request := func(what string, status int) *line {
		at += g.think(millisecond, 90*millisecond)
		return begin().str(v.who.text).str(` "`).str(what).str(` HTTP/1.1" `).num(status).str(" ").num(r.below(9000)).str("/0 0.0").num(r.between(10, 99)).str(" - - 0 - 15")
	}
	dav := r.chance(30)
	for _, user := range v.failed {
		at += g.think(2*second, 9*second)
		if h.authDown > at {
			begin().str("[ERROR] <0x0x5581").hex(r.next(), 8).str("[LDAPSource]> Could not bind to the LDAP server ldap://127.0.0.1:389 (389) using the bind DN: cn=sogo")
		}
		down := h.authDown > at
		if dav {
			begin().str("<0x0x5581").hex(r.next(), 8).str("[SOGoDAVAuthenticator]> tried wrong password for user '").str(user).str("'!")
			if l := request("PROPFIND /SOGo/dav/x/", 401); !down {
				l.event(event(policy.AuthFailure, user))
			}
			continue
		}
		l := begin().str("SOGoRootPage Login from '").str(v.who.text).str("' for user '").str(user).
			str("' might not have worked - password policy: 65535  grace: -1  expire: -1  bound: 0")
		if !down {
			l.event(event(policy.AuthFailure, user))
		}
		request("POST /SOGo/connect", 403)
	}
	if v.user != "" && h.authDown <= at {
		at += g.think(3*second, 9*second)
		begin().str("SOGoRootPage successful login from '").str(v.who.text).str("' for user '").str(v.user).str("' - expire = -1  grace = -1").
			event(event(policy.AuthSuccess, v.user))
		request("POST /SOGo/connect", 200)
	}
	for range r.skewed(12) {
		request("GET /SOGo/so/view", 200)
	}
	h.done(program, pid, at)
	return at
}
