package mixlog

import "weir/policy"

// Courier's mailbox servers, courier-imap 5, and its authentication daemon with
// PAM. Formats are those of imap/imaplogin.C and imap/imapd.C. No line has a
// process ID.

type courier struct{}

func (courier) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	program, service := "imapd-ssl", "imap"
	if v.service == "pop3" {
		program, service = "pop3d-ssl", "pop3"
	}
	port := r.between(1024, 65535)
	begin := func(what string) *line { return g.line(at, h, program, 0).str(what) }
	event := func(k policy.Kind, user string) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: service, Server: "courier"}
	}
	address := func(l *line) *line {
		if v.who.addr.Is4() {
			l.str("::ffff:")
		}
		return l.str(v.who.text)
	}
	client := func(l *line) *line { return address(l.str(", ip=[")).str("], port=[").num(port).str("]") }
	client(begin("Connection")).event(event(policy.Connection, ""))
	for _, user := range v.failed {
		at += g.think(5*second, 9*second)
		if h.authDown > at {
			begin("authdaemon: s_connect() failed: Connection refused")
			client(begin("LOGIN FAILED, user=").str(user))
			begin("authentication error: Connection refused")
			continue
		}
		if g.people.has(user) {
			address(g.line(at-millisecond, h, "authdaemond", 0).str("pam_unix(").str(service).str(":auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=")).
				str("  user=").str(user)
		}
		client(begin("LOGIN FAILED, user=").str(user)).event(event(policy.AuthFailure, user))
	}
	if v.user == "" || h.authDown > at {
		at += g.think(10*millisecond, 5*second)
		if len(v.failed) > 0 {
			client(begin("LOGOUT")).str(", rcvd=").num(r.below(900)).str(", sent=").num(r.below(900))
		} else {
			client(begin("Disconnected")).str(", time=0")
		}
		return at
	}
	at += g.think(5*second, 9*second)
	client(begin("LOGIN, user=").str(v.user)).str(", protocol=IMAP").event(event(policy.AuthSuccess, v.user))
	at += g.think(100*millisecond, 600*second)
	client(begin("LOGOUT, user=").str(v.user)).str(", headers=0, body=0, rcvd=").num(r.below(9000)).str(", sent=").num(r.below(90000)).str(", time=0, starttls=1")
	return at
}
