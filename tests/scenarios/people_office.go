package scenarios

import (
	"time"

	"weir/tests/mixlog"
)

// office is one address, behind which somebody always mistypes and one phone
// has not been told the new password.
func (p *party) office() {
	members := p.take(p.share(p.wide(60, 400)))
	gate := p.endpointOf(p.dice, pick(p.dice, p.net.local[business]))
	where := fixed(gate)
	for _, u := range members {
		reads := p.wideSpan(20*time.Minute, 90*time.Minute)
		p.ordinary(u, where, 0, p.o.length(), reads, p.wideSpan(time.Hour, 5*time.Hour), &workday)
		p.times(0, p.o.length(), 2*day, &workday, func(at time.Duration) { p.mistype(at, u, gate, p.wide(1, 4)) })
		if p.chance(40) {
			p.commuters = append(p.commuters, u)
		}
	}
	for range 1 + p.IntN(3)/2 {
		p.stale(pick(p.dice, members), where, p.span(45*time.Second, 180*time.Second), 0, p.o.length())
	}
}

// stale is a device with an old password, which tries at its own rhythm.
func (p *party) stale(u *user, where place, every, from, to time.Duration) {
	service := "submission"
	if p.reads && p.chance(75) {
		service = "imap"
	}
	for at := from + p.span(0, every); at < to; at += p.jitter(every, 0.02) {
		p.add(at, u.host, where(at), mixlog.Visit{Service: service, TLS: true, Failed: []string{u.name}})
	}
}

// smallOffices have IPv4 and IPv6, and not many who succeed.
func (p *party) smallOffices() {
	for range p.share(p.between(3, 8)) {
		w := pick(p.dice, p.net.local[business])
		l := &line{network: w, v4: []endpoint{p.endpointOf(p.dice, w)}}
		if p.chance(60) {
			l.v6 = p.net.site6(p.dice, w)
		}
		members := p.take(p.between(4, 15))
		for _, u := range members {
			p.ordinary(u, l.device(p.dice), 0, p.o.length(), p.wideSpan(20*time.Minute, time.Hour), 3*time.Hour, &workday)
		}
		if len(members) > 0 && p.chance(70) {
			p.stale(members[0], l.device(p.dice), p.wideSpan(80*time.Second, 15*time.Minute), p.span(0, day), p.o.length())
		}
	}
}

// passwordChanged is a home in which one device has been told the new password
// and three have not.
func (p *party) passwordChanged() {
	for _, u := range p.take(p.share(p.between(6, 15))) {
		var devices []place
		for range 4 {
			devices = append(devices, u.home.device(p.dice))
		}
		p.ordinary(u, devices[0], 0, p.o.length(), 30*time.Minute, 4*time.Hour, &waking)
		change := p.at(p.span(0, p.o.length()-day), p.span(8*time.Hour, 22*time.Hour))
		end := change + p.span(20*time.Minute, 45*time.Minute)
		for at := change; at < end; at += p.jitter(5*time.Minute, 0.3) {
			if p.chance(20) || !p.reads {
				p.sending(at, u, devices[0](at), 1)
			} else {
				p.reading(at, u, devices[0](at))
			}
		}
		for _, where := range devices[1:] {
			p.stale(u, where, p.span(30*time.Second, 3*time.Minute), change, end)
			p.ordinary(u, where, 0, change, time.Hour, 8*time.Hour, &waking)
			p.ordinary(u, where, end, p.o.length(), time.Hour, 8*time.Hour, &waking)
		}
	}
}

// staleAtHome is a device in a drawer.
func (p *party) staleAtHome() {
	for _, u := range p.take(p.share(p.between(10, 25))) {
		p.ordinary(u, u.home.device(p.dice), 0, p.o.length(), p.wideSpan(15*time.Minute, time.Hour), 4*time.Hour, &waking)
		p.stale(u, u.home.device(p.dice), p.wideSpan(5*time.Minute, time.Hour), p.span(0, day), p.o.length())
	}
}
