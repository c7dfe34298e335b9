package scenarios

import (
	"fmt"
	"time"

	"weir/tests/mixlog"
)

// newsletter goes to some hundred recipients, twice, from a machine that its
// sender always uses.
func (p *party) newsletter() {
	for _, u := range p.take(p.share(p.between(1, 3))) {
		where := u.home.device(p.dice)
		if p.chance(50) {
			where = fixed(p.endpointOf(p.dice, pick(p.dice, p.net.local[business])))
		}
		p.ordinary(u, where, 0, p.o.length(), 25*time.Minute, 2*time.Hour, &waking)
		recipients, each := p.between(300, 460), p.wide(1, 50)
		for i, first := range []time.Duration{p.span(8*time.Hour, 20*time.Hour), p.span(26*time.Hour, 40*time.Hour)} {
			if i == 0 && p.chance(30) {
				first = p.span(2*time.Hour, 4*time.Hour)
			}
			at := first
			for left := recipients; left > 0; left -= each {
				p.sending(at, u, where(at), min(each, left))
				at += p.span(500*time.Millisecond, 8*time.Second)
			}
		}
	}
}

// applications send under one account from one machine, by day and night.
func (p *party) applications() {
	for _, u := range p.take(p.share(p.between(2, 5))) {
		w := p.net.anywhere(p.dice, hosting, 60)
		where := fixed(p.server(w, fmt.Sprintf("app%d.firma.example", p.IntN(100))))
		every := p.wideSpan(20*time.Second, 4*time.Minute)
		p.times(0, p.o.length(), every, &servers, func(at time.Duration) {
			counts := []int{1}
			if p.chance(5) {
				counts = []int{1, 1, 2}
			}
			p.sending(at, u, where(at), counts...)
		})
	}
}

// monitors connect and go.
func (p *party) monitors() {
	for range p.between(1, 3) {
		e := p.server(p.net.anywhere(p.dice, hosting, 50), fmt.Sprintf("probe%d.monitor.example", p.IntN(100)))
		every, host, service := p.span(5*time.Second, 60*time.Second), p.IntN(len(p.hosts)), "smtp"
		if p.chance(40) {
			service = "submission"
		} else if p.reads && p.chance(40) {
			service = "imap"
		}
		for at := p.span(0, every); at < p.o.length(); at += p.jitter(every, 0.01) {
			p.add(at, host, e, mixlog.Visit{Service: service})
		}
	}
}

// bringing is a session in which another server brings messages.
func (p *party) bringing(at time.Duration, host int, e endpoint, messages, unknown int) {
	v := mixlog.Visit{Service: "smtp", TLS: p.chance(90), Unknown: unknown}
	for range messages {
		n := 1
		if p.chance(10) {
			n = p.between(2, 5)
		}
		v.Mails = append(v.Mails, mixlog.Mail{From: p.stranger(), Recipients: n, Local: true})
	}
	p.add(at, host, e, v)
}

// stranger is a mail address elsewhere.
func (p *party) stranger() string {
	return pick(p.dice, givenNames) + "." + pick(p.dice, familyNames) + "@" + pick(p.dice, otherDomains)
}

func (p *party) partners() {
	for range p.between(1, 4) {
		e := p.server(p.net.anywhere(p.dice, hosting, 70), fmt.Sprintf("mail%d.firma.example", p.IntN(100)))
		every, stale := p.wideSpan(time.Minute, 10*time.Minute), p.between(1, 8)
		p.times(0, p.o.length(), every, &servers, func(at time.Duration) {
			unknown := 0
			if p.chance(stale) {
				unknown = p.wide(1, 4)
			}
			p.bringing(at, p.IntN(len(p.hosts)), e, p.wide(1, 4), unknown)
		})
	}
}

// lists bring each post to all who are subscribed. Once a week or so the list
// meets those who have left.
func (p *party) lists() {
	for range p.between(1, 3) {
		e := p.server(p.net.anywhere(p.dice, hosting, 30), fmt.Sprintf("lists%d.uni.example", p.IntN(100)))
		subscribers, left := p.share(p.wide(20, 200)), p.between(0, 6)
		p.times(0, p.o.length(), p.wideSpan(30*time.Minute, 4*time.Hour), &waking, func(at time.Duration) {
			for n := subscribers; n > 0; n -= 10 {
				unknown := 0
				if left > 0 && p.chance(5) {
					unknown, left = 1, left-1
				}
				v := mixlog.Visit{Service: "smtp", TLS: true, Unknown: unknown, Mails: []mixlog.Mail{{From: "list-bounces@uni.example", Recipients: min(n, 10), Local: true}}}
				p.add(at, p.IntN(len(p.hosts)), e, v)
				at += p.span(100*time.Millisecond, 5*time.Second)
			}
		})
	}
}

// inbound is mail from many servers, from a few of them most of it.
func (p *party) inbound() {
	var servers []endpoint
	for i := range p.share(p.between(300, 900)) {
		kind := hosting
		if p.chance(20) {
			kind = business
		}
		servers = append(servers, p.server(p.net.anywhere(p.dice, kind, 30), fmt.Sprintf("mx%d.%s", i, pick(p.dice, otherDomains))))
	}
	every := time.Duration(float64(9*time.Second) * 3000 / float64(p.o.Users))
	p.times(0, p.o.length(), every, &waking, func(at time.Duration) {
		e := servers[int(float64(len(servers))*p.Float64()*p.Float64()*p.Float64())]
		messages, unknown := 1, 0
		if p.chance(10) {
			messages = p.wide(2, 8)
		}
		switch n := p.IntN(100); {
		case n < 3: // a typing error of somebody else's, or an address that has been given up
			unknown = p.wide(1, 3)
			messages = p.IntN(2)
		}
		p.bringing(at, p.IntN(len(p.hosts)), e, messages, unknown)
	})
}

// webmail is a host of the site's own from which many log in, and some of them
// mistype.
func (p *party) webmail() {
	gate := p.server(pick(p.dice, p.net.local[hosting]), "webmail.example.org")
	wrong := p.between(1, 5)
	for _, u := range p.take(p.share(p.between(60, 250))) {
		p.times(0, p.o.length(), p.wideSpan(90*time.Minute, 6*time.Hour), &waking, func(at time.Duration) {
			switch {
			case p.chance(wrong):
				p.mistype(at, u, gate, p.wide(1, 4))
			case p.chance(20):
				p.sending(at, u, gate, p.letter())
			default:
				p.reading(at, u, gate)
			}
		})
	}
}
