package mixlog

import (
	"time"

	"weir/policy"
)

// Stalwart 0.13, all protocols, by its standard output. Formats are those of
// crates/trc (serializers/text.rs) and crates/smtp. Messages of strangers are
// told without a word that weir reads.

type stalwart struct{}

func (stalwart) visit(g *Generator, h *host, at int64, v *visit) int64 {
	r := &g.random
	port, listener, protocol, id := 25, "smtp", "SMTP", "smtp"
	switch v.service {
	case "submission":
		port, listener = 587, "submission"
	case "imap":
		port, listener, protocol, id = 993, "imaptls", "IMAP", "imap"
	case "pop3":
		port, listener, protocol, id = 995, "pop3s", "POP3", "pop3"
	case "sieve":
		port, listener, protocol, id = 4190, "sieve", "ManageSieve", "manage-sieve"
	}
	remote := r.between(1024, 65535)
	event := func(k policy.Kind, user string, recipients int) policy.Event {
		return policy.Event{Kind: k, Source: v.who.addr, User: user, Service: v.service, Server: "stalwart", Recipients: recipients}
	}
	begin := func(level string) *line {
		l := g.line(at, h, "stalwart", h.own.rspamd)
		l.b.text = time.Unix(g.start+g.within(at)/second, 0).UTC().AppendFormat(l.b.text, "2006-01-02T15:04:05Z ")
		return l.str(level)
	}
	client := func(l *line) *line {
		return l.str(` listenerId = "`).str(listener).str(`", localPort = `).num(port).str(", remoteIp = ").str(v.who.text).str(", remotePort = ").num(remote)
	}
	client(begin("INFO ").str(protocol).str(" connection started (").str(id).str(".connection-start)")).event(event(policy.Connection, "", 0))
	for _, user := range v.failed {
		at += g.think(2*second, 6*second)
		if h.authDown > at {
			client(begin("ERROR Authentication error (auth.error)")).str(`, accountName = "`).str(user).str(`", details = "Store error"`)
			continue
		}
		reason := "Account not found"
		if g.people.has(user) {
			reason = "Invalid credentials"
		}
		client(begin("WARN Authentication failed (auth.failed)")).str(`, accountName = "`).str(user).str(`", reason = "`).str(reason).str(`", remoteIp = `).str(v.who.text).
			event(event(policy.AuthFailure, user, 0))
	}
	mails := v.mails
	if v.user != "" {
		at += g.think(3*second, 9*second)
		if h.authDown > at {
			mails = nil
		} else {
			client(begin("INFO Authentication successful (auth.success)")).str(`, accountName = "`).str(v.user).str(`", accountId = `).num(r.below(5000)).
				event(event(policy.AuthSuccess, v.user, 0))
		}
	}
	for _, m := range mails {
		at += g.think(100*millisecond, 900*millisecond)
		var l *line
		if v.user != "" {
			l = client(begin("INFO Queued authenticated message submission for delivery (queue.queue-message-authenticated)"))
		} else {
			l = client(begin("INFO Queued message for delivery (queue.queue-message)"))
		}
		l.str(", queueId = ").num(r.below(1e9)).str(`, from = "`).str(m.from).str(`", to = [`)
		for i := range m.recipients {
			if i > 0 {
				l.str(", ")
			}
			l.str(`"`).str(g.recipient(m.local, i)).str(`"`)
		}
		l.str("], size = ").num(1000 + r.skewed(200000)).str(", nextRetry = 2026-11-20T07:00:00Z")
		if v.user != "" {
			l.event(event(policy.Message, v.user, m.recipients))
		}
	}
	for range v.unknown {
		at += g.think(30*millisecond, 400*millisecond)
		client(begin("INFO Mailbox does not exist (smtp.mailbox-does-not-exist)")).str(`, to = "`).str(pick(r, g.people.guesses)).str(`"`).
			event(event(policy.UnknownRecipient, "", 0))
	}
	at += g.think(10*millisecond, 600*millisecond)
	client(begin("DEBUG ").str(protocol).str(" connection ended (").str(id).str(".connection-end)")).str(", elapsed = ").num(r.below(9000)).str("ms")
	return at
}
