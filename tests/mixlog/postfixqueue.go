package mixlog

import "weir/policy"

// queueID names a message of Postfix's: microsecond and inode, as
// src/global/mail_queue.h makes it of them.
type queueID struct {
	at    int64
	inode int
	long  bool
}

// firstInode is that of the first queue file.
const firstInode = 0x2481a0

// queue writes a queue ID.
func (l *line) queue(q queueID) *line {
	if q.long {
		const digits = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
		put := func(n int64, width int) {
			var b [12]byte
			i := len(b)
			for ; n > 0 || i > len(b)-width; n /= 52 {
				i--
				b[i] = digits[n%52]
			}
			l.b.text = append(l.b.text, b[i:]...)
		}
		put(1_795_000_000+q.at/second, 6)
		put(q.at%second, 4)
		l.b.text = append(l.b.text, 'z')
		put(int64(q.inode), 2)
		return l
	}
	micro, inode := uint64(q.at%second), uint64(q.inode)
	for shift := 16; shift >= 0; shift -= 4 {
		l.b.text = append(l.b.text, "0123456789ABCDEF"[micro>>shift&15])
	}
	for shift := 20; shift >= 0; shift -= 4 {
		l.b.text = append(l.b.text, "0123456789ABCDEF"[inode>>shift&15])
	}
	return l
}

// postfixMail is a message that smtpd receives, and its way out of the queue,
// which may last longer than the session.
func (g *Generator) postfixMail(h *host, at int64, program string, pid int, service string, v *visit, m mail, first bool) int64 {
	r := &g.random
	at += g.think(20*millisecond, 300*millisecond)
	slot := h.queueSlot(at)
	id := queueID{at, firstInode + slot, h.longIDs}
	l := g.line(at, h, program, pid).queue(id).str(": client=").client(&v.who)
	if v.user != "" {
		l.str(", sasl_method=PLAIN, sasl_username=").str(v.user)
		if first { // one login, however many messages
			l.event(policy.Event{Kind: policy.AuthSuccess, Source: v.who.addr, User: v.user, Service: service, Server: "postfix"})
		}
	}
	at += g.think(10*millisecond, 200*millisecond)
	g.line(at, h, "postfix/cleanup", g.helper(h, "postfix/cleanup", at)).queue(id).str(": message-id=<").hex(r.next(), 16).str("@").str(v.who.name).str(">")
	at, pass := g.milters(h, at, v, service, id, m)
	if !pass {
		h.slots[slot] = at
		return at
	}
	g.postfixActive(h, at, id, m).event(policy.Event{
		Kind: policy.Message, Source: v.who.addr, User: v.user, Service: service, Server: "postfix", Recipients: m.recipients,
	})
	if h.filter {
		h.slots[slot] = g.amavis(h, at, id, v, service, m)
	} else {
		h.slots[slot] = g.postfixDeliveries(h, at, id, m)
	}
	return at
}

// helper is a process of Postfix's that does not serve clients.
func (g *Generator) helper(h *host, program string, at int64) int {
	pid := h.serve(program, at)
	h.done(program, pid, at+50*millisecond)
	return pid
}

func (g *Generator) postfixActive(h *host, at int64, id queueID, m mail) *line {
	return g.line(at, h, "postfix/qmgr", h.own.qmgr).queue(id).str(": from=<").str(m.from).str(">, size=").num(1000 + g.random.skewed(200000)).
		str(", nrcpt=").num(m.recipients).str(" (queue active)")
}

// postfixDeliveries are all tries to deliver a message; they end with its
// removal. A message that is put off becomes active again.
func (g *Generator) postfixDeliveries(h *host, at int64, id queueID, m mail) int64 {
	r := &g.random
	if !m.local && r.chance(6) {
		at += g.think(second, 30*second)
		g.postfixRemote(h, at, id, m, false)
		at += g.think(300*second, 400*second)
		g.postfixActive(h, at, id, m)
	}
	last := at
	if m.local {
		last = g.postfixLocal(h, at, id, m)
	} else {
		last = g.postfixRemote(h, at, id, m, true)
	}
	last += g.think(100, 2*millisecond)
	g.line(last, h, "postfix/qmgr", h.own.qmgr).queue(id).str(": removed")
	return last
}

// postfixRemote is a delivery to another site, one line a recipient.
func (g *Generator) postfixRemote(h *host, at int64, id queueID, m mail, sent bool) (last int64) {
	r := &g.random
	const program = "postfix/smtp"
	for n := 0; n < m.recipients; {
		relay := &g.people.mailers[r.below(len(g.people.mailers))]
		took := g.think(200*millisecond, 4*second)
		end := at + took
		pid := h.serve(program, at)
		if r.chance(30) {
			g.line(at+took/2, h, program, pid).str("Untrusted TLS connection established to ").str(relay.name).str("[").str(relay.text).
				str("]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature ECDSA (P-256) server-digest SHA256")
		}
		for range min(r.between(1, 50), m.recipients-n) {
			n++
			l := g.line(end, h, program, pid).queue(id).str(": to=<").str(pick(r, g.people.strange)).str(">, relay=").str(relay.name).str("[").str(relay.text).
				str("]:25, delay=").seconds(took).str(", delays=0.1/0.01/").seconds(took / 2).str("/").seconds(took / 2)
			if sent {
				l.str(", dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as ").hex(r.next(), 10).str(")")
			} else {
				l.str(", dsn=4.7.1, status=deferred (host ").str(relay.name).str("[").str(relay.text).str("] said: 451 4.7.1 Greylisted, try again later (in reply to RCPT TO command))")
			}
		}
		h.done(program, pid, end)
		last = max(last, end)
	}
	return last
}

// postfixLocal is a delivery to Dovecot's mailboxes.
func (g *Generator) postfixLocal(h *host, at int64, id queueID, m mail) int64 {
	r := &g.random
	for range m.recipients {
		to := &g.people.accounts[r.below(len(g.people.accounts))]
		at = g.lmtp(h, at, to.name)
		g.line(at, h, "postfix/lmtp", g.helper(h, "postfix/lmtp", at)).queue(id).str(": to=<").str(to.name).str(">, relay=").str(h.name).
			str("[private/dovecot-lmtp], delay=0.2, delays=0.15/0/0.01/0.04, dsn=2.0.0, status=sent (250 2.0.0 <").str(to.name).str("> ").opaque(uint64(at), 22).str(" Saved)")
		at += g.think(millisecond, 20*millisecond)
	}
	return at
}
