package scenarios

import (
	"time"

	"weir/tests/mixlog"
)

// people are all who must be left alone.
var people = []role{
	{"office", "many people behind one address, and a stale phone that fails all day", (*party).office},
	{"small-office", "a dozen people behind an address and a /48, with a stale phone each", (*party).smallOffices},
	{"password-changed", "three devices fail for half an hour at home while the fourth succeeds", (*party).passwordChanged},
	{"stale-at-home", "a forgotten device that fails every few minutes for days beside one that works", (*party).staleAtHome},
	{"roaming", "a phone on carrier NAT, some 18 addresses a day", (*party).roamingPhones},
	{"traveller", "in two countries in one day", (*party).travellers},
	{"vpn", "behind a private network that leaves in another country now and then", (*party).vpn},
	{"shared-mailbox", "one account that a dozen people use, each from a place of their own", (*party).sharedMailbox},
	{"newsletter", "some 380 recipients, twice, from an address that is known", (*party).newsletter},
	{"application", "a server that sends steadily under one account", (*party).applications},
	{"monitor", "connects every ten seconds or so", (*party).monitors},
	{"partner", "a mail server that brings much good mail and a few unknown recipients", (*party).partners},
	{"list", "a list server: bursts of mail to many, some of whom have left", (*party).lists},
	{"inbound", "ordinary mail from everywhere", (*party).inbound},
	{"typing", "mistypes, and then does not", (*party).typing},
	{"newcomer", "sets up a first device, with some tries", (*party).newcomers},
	{"webmail", "a webmail host from which everybody logs in", (*party).webmail},
	{"ipv6", "a new privacy address each day, a new /64 with each attachment", (*party).sixes},
	{"home", "everybody else: some devices at home and on the road", (*party).homes},
}

// reading is a login that reads mail. Where nothing tells of those, it leaves
// no trace.
func (p *party) reading(at time.Duration, u *user, e endpoint) {
	if p.reads {
		p.add(at, u.host, e, mixlog.Visit{Service: p.mailbox(), TLS: true, User: u.name})
	}
}

func (p *party) mailbox() string {
	switch n := p.IntN(100); {
	case n < 92:
		return "imap"
	case n < 99:
		return "pop3"
	default:
		return "sieve"
	}
}

// sending is a session in which somebody sends messages, with as many
// recipients as counts says.
func (p *party) sending(at time.Duration, u *user, e endpoint, counts ...int) {
	v := mixlog.Visit{Service: "submission", TLS: true, User: u.name}
	for _, n := range counts {
		v.Mails = append(v.Mails, mixlog.Mail{From: u.name, Recipients: n})
	}
	p.add(at, u.host, e, v)
}

// letter is how many recipients an ordinary message has.
func (p *party) letter() int {
	if p.chance(75) {
		return 1
	}
	return p.wide(2, 20)
}

// failing is a session in which somebody's own logins fail: of what reads
// mail, if anything tells of that.
func (p *party) failing(at time.Duration, u *user, e endpoint, names ...string) {
	v := mixlog.Visit{Service: "submission", TLS: true, Failed: names}
	if p.reads && p.chance(80) {
		v.Service = "imap"
	}
	p.add(at, u.host, e, v)
}

// ordinary is what somebody does with a device: read all the time, and send
// now and then.
func (p *party) ordinary(u *user, where place, from, to, reads, sends time.Duration, r *rhythm) {
	p.times(from, to, reads, r, func(at time.Duration) {
		if p.Float64() < float64(reads)/float64(sends) {
			p.sending(at, u, where(at), p.letter())
		} else {
			p.reading(at, u, where(at))
		}
	})
}

// homes are all whom no other party has taken.
func (p *party) homes() {
	for _, u := range p.commuters {
		p.ordinary(u, p.commuter(u, pick(p.dice, p.net.local[mobile])), 0, p.o.length(), 2*time.Hour, day, &waking)
	}
	for _, u := range p.take(len(p.spare)) {
		p.ordinary(u, u.home.device(p.dice), 0, p.o.length(), p.wideSpan(30*time.Minute, 3*time.Hour), p.wideSpan(3*time.Hour, 12*time.Hour), &waking)
		if p.chance(70) {
			p.ordinary(u, p.commuter(u, pick(p.dice, p.net.local[mobile])), 0, p.o.length(), p.wideSpan(30*time.Minute, 3*time.Hour), p.wideSpan(6*time.Hour, 24*time.Hour), &waking)
		}
	}
}

// roamingPhones change their address some 18 times a day.
func (p *party) roamingPhones() {
	for _, u := range p.take(p.share(p.between(20, 60))) {
		where := p.roaming(pick(p.dice, p.net.local[mobile]), p.wideSpan(35*time.Minute, 90*time.Minute))
		p.ordinary(u, where, 0, p.o.length(), p.wideSpan(6*time.Minute, 25*time.Minute), p.wideSpan(2*time.Hour, 6*time.Hour), &waking)
	}
}

// sixes have a line with IPv6, and a phone that is in a new /64 after each
// attachment.
func (p *party) sixes() {
	for _, u := range p.take(p.share(p.between(40, 120))) {
		if u.home.v6 == 0 {
			u.home.v6 = p.net.home6(p.dice, u.home.network)
		}
		for range p.between(1, 3) {
			p.ordinary(u, u.home.device(p.dice), 0, p.o.length(), p.wideSpan(20*time.Minute, 2*time.Hour), 8*time.Hour, &waking)
		}
	}
}

// travellers are at home in the morning and abroad in the evening.
func (p *party) travellers() {
	for _, u := range p.take(p.share(p.between(6, 20))) {
		home := u.home.device(p.dice)
		for leave := p.at(0, p.span(5*time.Hour, 12*time.Hour)); leave < p.o.length(); leave += day {
			abroad := p.net.anywhere(p.dice, homes, 0)
			carrier := p.net.anywhere(p.dice, mobile, 0)
			for _, w := range p.net.byUse[mobile] {
				if w.country == abroad.country {
					carrier = w
				}
			}
			p.ordinary(u, home, max(0, leave-6*time.Hour), leave, 15*time.Minute, 2*time.Hour, &always)
			arrive := leave + p.span(time.Hour+30*time.Minute, 8*time.Hour)
			phone := p.roaming(carrier, time.Hour)
			p.ordinary(u, phone, arrive, arrive+2*time.Hour, 10*time.Minute, time.Hour, &always)
			hotel := fixed(p.endpointOf(p.dice, abroad))
			back := leave + day - 6*time.Hour
			if p.chance(30) { // the way home by an airport's network
				p.ordinary(u, fixed(p.endpointOf(p.dice, p.net.anywhere(p.dice, business, 30))), back-3*time.Hour, back-2*time.Hour, 10*time.Minute, time.Hour, &always)
			}
			p.ordinary(u, hotel, arrive+time.Hour, back, 20*time.Minute, 2*time.Hour, &waking)
		}
	}
}

// vpn are people whose provider of a private network has some exits, in hosting
// networks of several countries, that many others use as well.
func (p *party) vpn() {
	var exits []endpoint
	for range p.between(4, 12) {
		w := p.net.anywhere(p.dice, hosting, 20)
		for range p.between(1, 4) {
			exits = append(exits, p.endpointOf(p.dice, w))
		}
	}
	for _, u := range p.take(p.share(p.between(8, 25))) {
		mine := some(p.dice, exits, p.between(2, 8))
		stays, until := p.wideSpan(3*time.Hour, 12*time.Hour), time.Duration(0)
		var now endpoint
		where := func(at time.Duration) endpoint {
			if at >= until {
				now, until = pick(p.dice, mine), at+p.wait(stays)
			}
			return now
		}
		p.ordinary(u, where, 0, p.o.length(), p.wideSpan(15*time.Minute, 90*time.Minute), p.wideSpan(2*time.Hour, 8*time.Hour), &waking)
	}
}

// sharedMailbox is an address such as office@, whose mail a whole team reads
// and answers, at work, at home and on the road.
func (p *party) sharedMailbox() {
	for _, u := range p.take(p.share(p.between(2, 5))) {
		office := fixed(p.endpointOf(p.dice, pick(p.dice, p.net.local[business])))
		for range p.between(5, 15) {
			home := p.newLine(p.dice).device(p.dice)
			p.ordinary(u, office, 0, p.o.length(), 40*time.Minute, 3*time.Hour, &workday)
			p.ordinary(u, home, 0, p.o.length(), 2*time.Hour, 10*time.Hour, &waking)
			if p.chance(40) {
				p.ordinary(u, p.roaming(pick(p.dice, p.net.local[mobile]), 2*time.Hour), 0, p.o.length(), 90*time.Minute, 12*time.Hour, &waking)
			}
		}
	}
}

// typing are known devices whose owners mistype now and then.
func (p *party) typing() {
	for _, u := range p.take(p.share(p.between(100, 300))) {
		where := u.home.device(p.dice)
		p.times(0, p.o.length(), p.wideSpan(40*time.Minute, 4*time.Hour), &waking, func(at time.Duration) {
			if !p.chance(12) {
				p.reading(at, u, where(at))
				if p.chance(15) {
					p.sending(at+time.Minute, u, where(at), p.letter())
				}
				return
			}
			p.mistype(at, u, where(at), p.wide(1, 5))
		})
	}
}

// mistype is some failures, in one session or in several, and then a success.
func (p *party) mistype(at time.Duration, u *user, e endpoint, n int) {
	names := make([]string, n)
	for i := range names {
		names[i] = u.name
	}
	if p.chance(50) {
		for _, name := range names {
			p.failing(at, u, e, name)
			at += p.span(10*time.Second, 90*time.Second)
		}
		names = nil
	}
	v := mixlog.Visit{Service: "submission", TLS: true, Failed: names, User: u.name, Mails: []mixlog.Mail{{From: u.name, Recipients: p.letter()}}}
	if p.reads && p.chance(75) {
		v.Service, v.Mails = "imap", nil
	}
	p.add(at, u.host, e, v)
}

// newcomers log in for the first time ever, from a new device, and often not
// at the first try: three spellings of a name, a mistyped password.
func (p *party) newcomers() {
	for _, u := range p.take(p.share(p.between(20, 60))) {
		begin := p.at(p.span(0, p.o.length()*8/10), p.span(7*time.Hour, 21*time.Hour))
		where := u.home.device(p.dice)
		if p.chance(60) {
			for _, name := range some(p.dice, []string{local(u.name), u.name, "info@" + pick(p.dice, ourDomains), u.name}, p.between(1, 4)) {
				p.failing(begin, u, where(begin), name)
				begin += p.span(15*time.Second, 4*time.Minute)
			}
		}
		p.ordinary(u, where, begin, p.o.length(), p.wideSpan(10*time.Minute, time.Hour), 4*time.Hour, &waking)
	}
}
