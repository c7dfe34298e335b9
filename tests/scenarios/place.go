package scenarios

import (
	"strings"
	"time"
)

// line is an access line: what stands behind it shares its address.
type line struct {
	network *network
	v4      []endpoint // one, or one a day
	v6      uint64     // a /56, 0 for none
}

// newLine connects a home. Some lines get a new address each day, and some share
// one with their neighbours.
func (s *site) newLine(d dice) *line {
	w := pick(d, s.net.local[homes])
	l := &line{network: w}
	switch n := d.IntN(100); {
	case n < 12:
		l.v4 = append(l.v4, endpoint{addr: pick(d, w.pool)})
	case n < 40:
		for range s.o.Days + 1 {
			l.v4 = append(l.v4, s.endpointOf(d, w))
		}
	default:
		l.v4 = append(l.v4, s.endpointOf(d, w))
	}
	if d.chance(35) {
		l.v6 = s.net.home6(d, w)
	}
	return l
}

// endpointOf gives out an address of a network to a device.
func (s *site) endpointOf(d dice, w *network) endpoint {
	a := s.net.address(d, w)
	e := endpoint{addr: a, name: reverse(d, w, a)}
	if d.chance(50) {
		e.helo = pick(d, givenNames) + "-pc"
	}
	return e
}

// device returns what a device at the line uses: IPv4, or an IPv6 address that
// changes every day and with every device (RFC 8981).
func (l *line) device(d dice) place {
	number := d.Uint64()
	six := l.v6 != 0 && d.chance(60)
	return func(at time.Duration) endpoint {
		today := int(at / day)
		if six {
			return endpoint{addr: addr6(l.v6, (number+uint64(today)*0x9e3779b97f4a7c15)&^(1<<57)), helo: "[IPv6:::1]"}
		}
		return l.v4[today%len(l.v4)]
	}
}

// place is where a device is at a time. Times must not go back.
type place func(at time.Duration) endpoint

func fixed(e endpoint) place { return func(time.Duration) endpoint { return e } }

// roaming is a phone on its carrier's network that gets another address every
// now and then.
func (p *party) roaming(carrier *network, changes time.Duration) place {
	var until time.Duration
	var now endpoint
	net6 := uint64(0)
	if p.chance(30) {
		net6 = carrier.v6 // a /64 an attachment
	}
	return func(at time.Duration) endpoint {
		if now.addr.IsValid() && at < until {
			return now
		}
		until = at + p.wait(changes)
		if net6 != 0 && p.chance(70) {
			now = endpoint{addr: addr6(net6+uint64(p.Uint32()), p.Uint64()>>8), helo: "[IPv6:::1]"}
			return now
		}
		a := pick(p.dice, carrier.pool)
		now = endpoint{addr: a, name: reverse(p.dice, carrier, a)}
		return now
	}
}

// commuter is a phone that is at home on the home's network, and elsewhere on
// its carrier's.
func (p *party) commuter(u *user, carrier *network) place {
	home, road := u.home.device(p.dice), p.roaming(carrier, 90*time.Minute)
	out, back := p.span(7*time.Hour, 10*time.Hour), p.span(15*time.Hour, 20*time.Hour)
	return func(at time.Duration) endpoint {
		if c := p.clock(at); c > out && c < back {
			return road(at)
		}
		return home(at)
	}
}

// server is a machine that has an address of its own.
func (p *party) server(w *network, name string) endpoint {
	return endpoint{addr: p.net.address(p.dice, w), name: name, helo: name}
}

// local is the part of a mail address before the @.
func local(name string) string {
	before, _, _ := strings.Cut(name, "@")
	return before
}
