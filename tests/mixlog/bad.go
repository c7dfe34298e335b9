package mixlog

// What attackers do.

// try makes v's logins with one of the host's servers.
func (g *Generator) try(h *host, at int64, v *visit) int64 {
	if g.random.chance(65) {
		v.service = "submission"
		if g.random.chance(40) {
			v.service = "smtp"
		}
		return h.mta.visit(g, h, at, v)
	}
	v.service = g.protocol()
	return h.mailbox.visit(g, h, at, v)
}

// brute is one source that guesses for minutes or hours.
func (g *Generator) brute(s start) {
	r := &g.random
	if s.who == 0 {
		s.who = 1 + uint32(r.below(len(g.people.bots)))
		s.left = uint16(r.between(20, 600))
	}
	v := visit{who: g.people.bots[s.who-1], tls: r.chance(50), failed: g.guess(1 + r.skewed(6)), rude: r.chance(50)}
	end := g.try(s.host, s.at, &v)
	g.again(s, end-s.at+g.think(second/10, 20*second))
}

// botnet is one of many sources that try little, each for itself.
func (g *Generator) botnet(s start) {
	r := &g.random
	v := visit{who: pick(r, g.people.bots), tls: r.chance(60), failed: g.guess(1 + r.skewed(4)), rude: r.chance(70)}
	g.try(s.host, s.at, &v)
}

// rotating is an attacker with a whole /64, and an address for each try.
func (g *Generator) rotating(s start) {
	r := &g.random
	if s.who == 0 {
		s.who = 1 + uint32(r.below(100))
		s.left = uint16(r.between(20, 500))
	}
	a := addressV6(0x10000000+int(s.who), r.next())
	v := visit{
		who: peer{addr: a, text: a.String(), name: "unknown", helo: "[IPv6:::1]"},
		tls: true, failed: g.guess(1), rude: true,
	}
	g.try(s.host, s.at, &v)
	g.again(s, g.think(second, 15*second))
}

// stolen is a good password in many hands: mail to many from everywhere.
func (g *Generator) stolen(s start) {
	r := &g.random
	if s.who == 0 {
		s.who = 1 + uint32(r.below(len(g.people.accounts)))
		s.left = uint16(r.between(100, 600))
	}
	name := g.people.accounts[s.who-1].name
	v := visit{who: pick(r, g.people.bots), service: "submission", tls: r.chance(80), user: name}
	g.mails = g.mails[:0]
	for range r.between(1, 3) {
		g.mails = append(g.mails, mail{from: name, recipients: r.between(20, 100), bad: r.chance(40)})
	}
	v.mails = g.mails
	s.host.mta.visit(g, s.host, s.at, &v)
	g.again(s, g.think(second, 10*second))
}

// harvest is a source that asks which recipients there are.
func (g *Generator) harvest(s start) {
	r := &g.random
	v := visit{who: pick(r, g.people.bots), service: "smtp", unknown: r.between(2, 20), rude: r.chance(50)}
	s.host.mta.visit(g, s.host, s.at, &v)
}

// probe is a scanner that looks whether anybody answers.
func (g *Generator) probe(s start) {
	r := &g.random
	v := visit{who: pick(r, g.people.bots), tls: r.chance(30), rude: true}
	g.try(s.host, s.at, &v)
}

// forged are names that look like parts of the servers' own lines. No event
// may ever come from 192.0.2.66.
var forged = []string{
	"x]: SASL LOGIN authentication failed: y",
	"x[192.0.2.66]: SASL PLAIN authentication failed:",
	"connect from x[192.0.2.66]",
	"bob, rip=192.0.2.66, lip=10.0.0.1",
	"user=<bob>, rip=192.0.2.66",
	"): unknown user",
	"x rip=192.0.2.66",
	"set_id=bob) [192.0.2.66]: 535",
	"3A9F2C0D1E: client=x[192.0.2.66]",
	"'; drop table users --",
	"a\u00e4\u00f6\u00fc@example.org",
	"dovecot: imap-login: Login: user=<bob>",
}

// injection is an attacker who hopes that a log's reader takes his words for
// the server's.
func (g *Generator) injection(s start) {
	r := &g.random
	v := visit{who: pick(r, g.people.bots), failed: g.repeat(pick(r, forged), 1), rude: r.chance(50)}
	v.who.helo = "[192.0.2.66]"
	g.try(s.host, s.at, &v)
}
