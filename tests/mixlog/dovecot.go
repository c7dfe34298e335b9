package mixlog

import (
	"net/netip"

	"weir/policy"
)

// Dovecot 2.3 and 2.4. Formats are those of src/login-common
// (client-common.c), src/auth (auth-request.c), src/imap, src/pop3, src/lmtp.

type dovecot struct{}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func (dovecot) visit(g *Generator, h *host, at int64, v *visit) int64 {
	session := g.random.next()
	at += g.think(300*millisecond, second)
	began, untold := at, 0
	for i, user := range v.failed {
		if i > 0 {
			at += g.think(2*second, 6*second)
		}
		if h.authDown > at {
			return g.dovecotBroken(h, at, v, session)
		}
		if !g.authRefusal(h, at, v, user, session) {
			untold++
		}
		at += 2 * second // auth_failure_delay
	}
	if v.user == "" {
		at += g.think(10*millisecond, 200*millisecond)
		l := g.line(at, h, "dovecot", 0).str(loginProcess(v.service)).str("-login: ")
		if len(v.failed) == 0 {
			if h.dovecot24 {
				l.str("Login aborted: Connection closed (no auth attempts in 0 secs) (no_auth_attempts)")
			} else {
				l.str("Disconnected: Connection closed (no auth attempts in 0 secs)")
			}
			l.dovecotElements(h, v, session, "")
			l.event(policy.Event{Kind: policy.Connection, Source: v.who.addr, Service: v.service, Server: "dovecot"})
			return at
		}
		user := v.failed[len(v.failed)-1]
		l.dovecotRefusals(h, v, (at-began)/second).dovecotElements(h, v, session, user)
		for range untold { // of whose users this line knows only the last
			l.event(policy.Event{Kind: policy.AuthFailure, Source: v.who.addr, User: user, Service: v.service, Server: "dovecot"})
		}
		return at
	}
	if len(v.failed) > 0 {
		at += g.think(3*second, 9*second)
	}
	if h.authDown > at {
		return g.dovecotBroken(h, at, v, session)
	}
	return g.dovecotLogin(h, at, v, session)
}

func loginProcess(service string) string {
	if service == "sieve" {
		return "managesieve"
	}
	return service
}

// dovecotBroken is a session that the auth process could not serve.
func (g *Generator) dovecotBroken(h *host, at int64, v *visit, session uint64) int64 {
	process := loginProcess(v.service)
	g.line(at, h, "dovecot", 0).str(process).str("-login: Error: auth: connect(login) in directory /run/dovecot failed: Connection refused (euid=107(dovenull) egid=114(dovenull))")
	at += second
	l := g.line(at, h, "dovecot", 0).str(process).str("-login: Disconnected: Auth process broken (disconnected before auth was ready, waited 1 secs)")
	l.dovecotElements(h, v, session, "")
	l.event(policy.Event{Kind: policy.Connection, Source: v.who.addr, Service: v.service, Server: "dovecot"})
	return at
}

// dovecotRefusals writes why a session ended in which logins were refused.
func (l *line) dovecotRefusals(h *host, v *visit, secs int64) *line {
	switch {
	case h.dovecot24 && v.rude:
		l.str("Login aborted: Connection closed")
	case h.dovecot24:
		l.str("Login aborted: Logged out")
	case v.rude:
		l.str("Disconnected: Connection closed")
	default:
		l.str("Disconnected: Aborted login by logging out")
	}
	l.str(" (auth failed, ").num(len(v.failed)).str(" attempts in ").num(int(secs)).str(" secs)")
	if h.dovecot24 {
		l.str(" (auth_failed)")
	}
	return l
}

// dovecotElements writes what login_log_format_elements names.
func (l *line) dovecotElements(h *host, v *visit, session uint64, user string) *line {
	l.str(": user=<").str(user).str(">")
	if user != "" {
		l.str(", method=PLAIN")
	}
	l.str(", rip=").str(v.who.text).str(", lip=").addr(h.lip(&v.who))
	if v.tls {
		l.str(", TLS")
	}
	return l.str(", session=<").opaque(session, 16).str(">")
}

// dovecotLogin is a login that succeeds, and what comes of it.
func (g *Generator) dovecotLogin(h *host, at int64, v *visit, session uint64) int64 {
	r, pid := &g.random, h.once()
	l := g.line(at, h, "dovecot", 0).str(loginProcess(v.service))
	if h.dovecot24 {
		l.str("-login: Logged in")
	} else {
		l.str("-login: Login")
	}
	l.str(": user=<").str(v.user).str(">, method=PLAIN, rip=").str(v.who.text).str(", lip=").addr(h.lip(&v.who)).
		str(", mpid=").num(pid).str(", TLS, session=<").opaque(session, 16).str(">")
	l.event(policy.Event{Kind: policy.AuthSuccess, Source: v.who.addr, User: v.user, Service: v.service, Server: "dovecot"})

	wait := g.think(100*millisecond, 20*second)
	idle := v.service == "imap" && r.chance(40) // held open for new mail
	if idle {
		wait = g.think(30*second, 900*second)
	}
	at += wait
	l = g.line(at, h, "dovecot", 0).str(loginProcess(v.service)).str("(").str(v.user).str(")<").num(pid).str("><").opaque(session, 16).str(">: ")
	switch {
	case v.service == "pop3":
		l.str("Disconnected: Logged out top=0/0, retr=").num(r.below(3)).str("/").num(r.below(90000)).str(", del=0/").num(r.below(500)).str(", size=").num(r.below(9e6))
		return at
	case v.service == "sieve":
		l.str("Disconnected: Logged out bytes=").num(r.below(900)).str("/").num(r.below(9000))
		return at
	case idle:
		l.str("Disconnected: Connection closed (IDLE running for 0.001 + waiting input for ").num(int(wait / second)).
			str(".1 secs, 2 B in + 10+10 B out, state=wait-input)")
	default:
		l.str("Disconnected: Logged out")
	}
	l.str(" in=").num(r.below(5000)).str(" out=").num(r.below(90000)).str(" deleted=0 expunged=0 trashed=0 hdr_count=").num(r.below(9)).
		str(" hdr_bytes=").num(r.below(5000)).str(" body_count=0 body_bytes=0")
	return at
}

// authRefusal is what Dovecot's auth process says of a refused login, if it is
// set up to do so. It reports whether it has told; then nobody else's line
// tells it again. It does not name the service. session is 0 for Postfix.
func (g *Generator) authRefusal(h *host, at int64, v *visit, user string, session uint64) bool {
	if !h.authVerbose {
		return false
	}
	r := &g.random
	why := "unknown user"
	if g.people.has(user) {
		why = "Password mismatch"
	}
	l := g.line(at, h, "dovecot", 0)
	switch {
	case h.dovecot24 && h.authWorker:
		l.str("auth-worker(").str(user).str(",").str(v.who.text).str(",sasl:plain)<").num(h.own.anvil).str(">")
		if session != 0 {
			l.str("<").opaque(session, 16).str(">")
		}
		l.str(": request [").num(r.between(1, 900)).str("]: sql: ").str(why)
	case h.authWorker:
		l.str("auth-worker(").num(h.own.anvil).str("): conn unix:auth-worker (pid=").num(h.own.qmgr).str(",uid=112): auth-worker<").num(r.between(1, 900)).
			str(">: sql(").str(user).str(",").str(v.who.text)
		if session != 0 {
			l.str(",<").opaque(session, 16).str(">")
		}
		l.str("): ").str(why)
	default:
		l.str("auth: passwd-file(").str(user).str(",").str(v.who.text)
		if session != 0 {
			l.str(",<").opaque(session, 16).str(">")
		}
		l.str("): ").str(why)
	}
	l.event(policy.Event{Kind: policy.AuthFailure, Source: v.who.addr, User: user, Server: "dovecot"})
	return true
}

// lmtp is a delivery to a mailbox.
func (g *Generator) lmtp(h *host, at int64, user string) int64 {
	r := &g.random
	pid := h.serve("dovecot/lmtp", at)
	g.line(at, h, "dovecot", 0).str("lmtp(").num(pid).str("): Connect from local")
	session := r.next()
	at += g.think(5*millisecond, 80*millisecond)
	g.line(at, h, "dovecot", 0).str("lmtp(").str(user).str(")<").num(pid).str("><").opaque(session, 22).str(">: sieve: msgid=<").hex(r.next(), 16).str("@example.edu>: stored mail into mailbox 'INBOX'")
	g.line(at+millisecond, h, "dovecot", 0).str("lmtp(").num(pid).str("): Disconnect from local: Logged out (state=READY)")
	h.done("dovecot/lmtp", pid, at+millisecond)
	return at
}
