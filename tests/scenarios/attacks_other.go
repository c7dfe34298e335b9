package scenarios

import (
	"time"

	"weir/tests/mixlog"
)

// asking is a session in which a client asks for recipients, some of which
// there are.
func (p *party) asking(at time.Duration, e endpoint, n, hitsOf100 int) {
	v := mixlog.Visit{Service: "smtp", TLS: p.chance(50), Rude: p.chance(60)}
	for range n {
		if p.chance(hitsOf100) {
			v.Mails = append(v.Mails, mixlog.Mail{From: p.stranger(), Recipients: 1, Local: true})
		} else {
			v.Unknown++
		}
	}
	p.add(at, p.IntN(len(p.hosts)), e, v)
}

func (p *party) harvestOne() {
	for range p.between(1, 2) {
		e, at, each, hits := p.rented(30), p.begins(), p.wide(1, 25), p.IntN(10)
		gap := p.wideSpan(2*time.Second, 3*time.Minute)
		for left := p.wide(500, 4000); left > 0; left -= each {
			p.asking(at, e, min(each, left), hits)
			at += p.jitter(gap, 0.5)
		}
	}
}

func (p *party) harvestMany() {
	at, hits, each := p.begins(), p.IntN(10), p.wide(1, 8)
	sources := p.botnetOf(p.share(p.wide(60, 300)), 50)
	total := len(sources) * p.wide(8, 50)
	lasts := p.wideSpan(time.Hour, max(2*time.Hour, p.o.length()-at-time.Hour))
	for left := total; left > 0; left -= each {
		p.asking(at, pick(p.dice, sources), min(each, left), hits)
		at += p.wait(lasts * time.Duration(each) / time.Duration(total))
	}
}

// rotating tries from addresses that next gives.
func (p *party) rotating(next func() endpoint) {
	at, d, guess, host := p.begins(), p.doors(), p.names(p.between(0, 80)), p.IntN(len(p.hosts))
	gap := p.wideSpan(4*time.Second, 3*time.Minute)
	for range p.wide(300, 2500) {
		p.try(at, host, next(), d, guess())
		at += p.jitter(gap, 0.6)
	}
}

func (p *party) sixAddresses() {
	for range p.between(1, 3) {
		upper := p.net.site6(p.dice, p.net.anywhere(p.dice, hosting, 5)) + uint64(p.IntN(1<<16))
		p.rotating(func() endpoint { return endpoint{addr: addr6(upper, p.Uint64()), helo: "[IPv6:::1]"} })
	}
}

func (p *party) sixNets() {
	site, n := p.net.site6(p.dice, p.net.anywhere(p.dice, hosting, 5)), uint64(0)
	random := p.chance(50)
	p.rotating(func() endpoint {
		if n++; random {
			n = uint64(p.IntN(1 << 16))
		}
		return endpoint{addr: addr6(site+n&0xffff, p.Uint64()), helo: "[IPv6:::1]"}
	})
}

func (p *party) flood() {
	for range p.between(1, 4) {
		e, at, host := p.rented(40), p.begins(), p.IntN(len(p.hosts))
		service := pick(p.dice, []string{"smtp", "submission"})
		if p.reads && p.chance(25) {
			service = "imap"
		}
		gap := p.wideSpan(50*time.Millisecond, 2*time.Second)
		for range p.wide(2000, 10000) {
			p.add(at, host, e, mixlog.Visit{Service: service, Rude: true, TLS: p.chance(20)})
			at += p.wait(gap)
		}
	}
}
