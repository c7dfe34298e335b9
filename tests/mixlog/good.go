package mixlog

// What good clients do.

func (g *Generator) inbound(s start) {
	r := &g.random
	v := visit{who: pick(r, g.people.mailers), service: "smtp", tls: r.chance(92)}
	n := 1
	if r.chance(15) {
		n += r.skewed(8)
	}
	v.mails = g.mail(pick(r, g.people.strange), n, 12, true)
	if r.chance(5) {
		v.unknown = 1
	}
	s.host.mta.visit(g, s.host, s.at, &v)
}

func (g *Generator) submitting(s start) {
	r := &g.random
	a := &g.people.accounts[r.below(len(g.people.accounts))]
	v := visit{who: g.place(a), service: "submission", tls: true, user: a.name}
	n := 1
	if r.chance(15) {
		n += r.skewed(5)
	}
	v.mails = g.mail(a.name, n, 40, false)
	s.host.mta.visit(g, s.host, s.at, &v)
}

func (g *Generator) reading(s start) {
	r := &g.random
	a := &g.people.accounts[r.below(len(g.people.accounts))]
	v := visit{who: g.place(a), service: g.protocol(), tls: true, user: a.name}
	s.host.mailbox.visit(g, s.host, s.at, &v)
}

// typo is a user who mistypes the password once to three times.
func (g *Generator) typo(s start) {
	r := &g.random
	a := &g.people.accounts[r.below(len(g.people.accounts))]
	v := visit{who: g.place(a), tls: true, failed: g.repeat(a.name, 1+r.skewed(4)), user: a.name}
	if r.chance(30) {
		v.service = "submission"
		v.mails = g.mail(a.name, 1, 20, false)
		s.host.mta.visit(g, s.host, s.at, &v)
		return
	}
	v.service = g.protocol()
	s.host.mailbox.visit(g, s.host, s.at, &v)
}

// stale is a telephone with an old password, for some hours.
func (g *Generator) stale(s start) {
	if s.who == 0 {
		s.who = 1 + uint32(g.random.below(len(g.people.accounts)))
		s.left = uint16(g.random.between(50, 400))
	}
	a := &g.people.accounts[s.who-1]
	v := visit{who: a.places[1], service: "imap", tls: true, failed: g.repeat(a.name, 1)}
	if s.who%3 == 0 {
		v.service = "submission"
		s.host.mta.visit(g, s.host, s.at, &v)
	} else {
		s.host.mailbox.visit(g, s.host, s.at, &v)
	}
	g.again(s, 90*second+g.think(0, second))
}
