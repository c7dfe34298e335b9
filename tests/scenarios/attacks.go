package scenarios

import (
	"fmt"
	"strings"
	"time"

	"weir/tests/mixlog"
)

// attacks are all that must be stopped.
var attacks = []role{
	{"brute-fast", "one source guesses as fast as it can", (*party).bruteFast},
	{"brute-slow", "one source, a try every few minutes for days", (*party).bruteSlow},
	{"spray", "one source, one try a user", (*party).spray},
	{"one-user", "one user, tried once from each of many sources", (*party).oneUser},
	{"botnet", "many sources, a few tries each over days, at random users", (*party).botnet},
	{"stolen-one-source", "a stolen account, thousands of messages from one source", (*party).stolenOneSource},
	{"stolen-everywhere", "a stolen account, two messages each from hundreds of sources, no failure", (*party).stolenEverywhere},
	{"stolen-dripping", "many stolen accounts, each a little from a few sources", (*party).stolenDripping},
	{"guessed", "a guess that succeeds after some failures, then spam from elsewhere", (*party).guessed},
	{"harvest-one", "one source asks which recipients there are", (*party).harvestOne},
	{"harvest-many", "a hundred sources ask", (*party).harvestMany},
	{"v6-address-a-try", "a new address of one /64 for each try", (*party).sixAddresses},
	{"v6-net-a-try", "a new /64 of one /48 for each try", (*party).sixNets},
	{"neighbours", "the sources of a /24, a few tries each", (*party).neighbours},
	{"flood", "connections that say nothing", (*party).flood},
}

// begins is when an attack begins: with the log if it is a cold one.
func (p *party) begins() time.Duration {
	if p.o.Cold {
		return p.span(0, 30*time.Minute)
	}
	return p.span(min(6*time.Hour, p.o.length()/4), min(day, p.o.length()/2))
}

// rests returns when an attacker works: all day or, now and then, not during
// some hours of it.
func (p *party) rests() (works func(at time.Duration) bool) {
	if !p.chance(25) {
		return func(time.Duration) bool { return true }
	}
	from, hours := p.span(0, day), p.span(5*time.Hour, 12*time.Hour)
	return func(at time.Duration) bool { return (p.clock(at)-from+day)%day > hours }
}

// rented is a machine anywhere that an attacker uses: a rented server, or
// somebody's infected computer.
func (p *party) rented(homesOf100 int) endpoint {
	w := p.net.anywhere(p.dice, hosting, 3)
	if p.chance(homesOf100) {
		w = p.net.anywhere(p.dice, homes, 10)
		if p.chance(10) {
			w = p.net.anywhere(p.dice, business, 10)
		}
	}
	e := p.endpointOf(p.dice, w)
	if p.chance(10) {
		e = endpoint{addr: addr6(p.net.site6(p.dice, w), p.Uint64())}
	}
	if p.chance(60) {
		e.helo = pick(p.dice, []string{"User", "ylmf-pc", "[127.0.0.1]", "localhost", "WIN-" + fmt.Sprint(p.IntN(1e6)), "mail.example.org"})
	}
	return e
}

func (p *party) botnetOf(n, homesOf100 int) (list []endpoint) {
	for range n {
		list = append(list, p.rented(homesOf100))
	}
	return list
}

// doors are the services that an attack knocks at.
func (p *party) doors() []string {
	all := []string{"submission", "submission", "smtp"}
	if p.reads {
		all = append(all, "imap", "imap", "pop3")
	}
	if p.chance(50) {
		return []string{pick(p.dice, all)}
	}
	return all
}

// try is a session in which the names are tried, in vain. All sessions at a
// user go to one host.
func (p *party) try(at time.Duration, host int, e endpoint, doors []string, names ...string) {
	p.add(at, host, e, mixlog.Visit{Service: pick(p.dice, doors), TLS: p.chance(60), Failed: names, Rude: p.chance(60)})
}

// customer is, now and then, an attacker who has an account already, and whose
// source so succeeds between its tries.
func (p *party) customer(e endpoint, from, to time.Duration) {
	if !p.chance(20) {
		return
	}
	u := pick(p.dice, p.users)
	if p.reads {
		p.times(from, to, p.wideSpan(10*time.Minute, 4*time.Hour), &always, func(at time.Duration) { p.reading(at, u, e) })
	} else {
		p.times(from, to, p.wideSpan(time.Hour, 4*time.Hour), &always, func(at time.Duration) { p.sending(at, u, e, 1) })
	}
}

// names are what guessers think of: users that there are, as they are written
// or another way, and users that there are not.
func (p *party) names(unknownOf100 int) func() string {
	folding := p.chance(15)
	return func() string {
		if p.chance(unknownOf100) {
			switch p.IntN(3) {
			case 0:
				return pick(p.dice, commonNames)
			case 1:
				return pick(p.dice, commonNames) + "@" + pick(p.dice, ourDomains)
			}
			return pick(p.dice, givenNames) + fmt.Sprint(p.between(60, 9999)) + "@" + pick(p.dice, ourDomains)
		}
		name := pick(p.dice, p.users).name
		if folding && p.chance(30) {
			name = strings.ToUpper(name[:1]) + name[1:]
		}
		return name
	}
}

func (p *party) bruteFast() {
	for range p.between(1, 4) {
		e, d, at := p.rented(20), p.doors(), p.begins()
		name, guess := pick(p.dice, p.users).name, p.names(p.between(0, 90))
		one, host := p.chance(50), p.IntN(len(p.hosts))
		gap := p.wideSpan(time.Second, 30*time.Second)
		for left := p.wide(200, 3000); left > 0; {
			n := min(left, p.between(1, 4))
			tried := make([]string, n)
			for i := range tried {
				if tried[i] = guess(); one {
					tried[i] = name
				}
			}
			p.try(at, host, e, d, tried...)
			left -= n
			at += time.Duration(n-1)*4*time.Second + p.jitter(gap, 0.5)
		}
	}
}

func (p *party) bruteSlow() {
	for range p.between(1, 5) {
		e, d := p.rented(40), p.doors()
		few := p.IntN(2) // one user, or a few
		var names []string
		for range 1 + few*p.between(1, 12) {
			names = append(names, p.names(p.between(0, 40))())
		}
		every, jitter, host := p.wideSpan(4*time.Minute, 20*time.Minute), 0.5*p.Float64(), p.IntN(len(p.hosts))
		begins := p.begins()
		works := p.rests()
		p.customer(e, begins, p.o.length())
		for at, i := begins, 0; at < p.o.length(); at, i = at+p.jitter(every, jitter), i+1 {
			if !works(at) {
				continue
			}
			p.try(at, host, e, d, names[i%len(names)])
		}
	}
}

func (p *party) spray() {
	for range p.between(1, 3) {
		e, d, at, host := p.rented(30), p.doors(), p.begins(), p.IntN(len(p.hosts))
		unknown, guess := p.between(0, 50), p.names(100)
		gap, begins := p.wideSpan(2*time.Second, 4*time.Minute), at
		for _, u := range some(p.dice, p.users, p.share(p.wide(300, 3000))) {
			name := u.name
			if p.chance(unknown) {
				name = guess()
			}
			p.try(at, host, e, d, name)
			at += p.jitter(gap, 0.8)
		}
		p.customer(e, begins, at)
	}
}

func (p *party) oneUser() {
	u, d, at := pick(p.dice, p.users), p.doors(), p.begins()
	sources := p.botnetOf(p.share(p.wide(400, 2000)), p.between(20, 100))
	lasts := p.wideSpan(2*time.Hour, max(3*time.Hour, p.o.length()-at-time.Hour))
	for _, e := range sources {
		p.try(at, u.host, e, d, u.name)
		at += p.wait(lasts / time.Duration(len(sources)))
	}
}

func (p *party) botnet() {
	guess, d, at := p.names(p.between(10, 70)), p.doors(), p.begins()
	sources := p.botnetOf(p.share(p.wide(300, 2500)), p.between(40, 100))
	if p.o.Seed%4 == 1 { // some bots are phones behind the same NAT as good ones
		for i := range 3 {
			a := pick(p.dice, pick(p.dice, p.net.local[mobile]).pool)
			sources[i] = endpoint{addr: a}
		}
	}
	left, works := p.o.length()-at, p.rests()
	for _, e := range sources {
		for range p.between(1, 5) {
			if when := at + p.span(0, left-1); works(when) {
				p.try(when, p.IntN(len(p.hosts)), e, d, guess())
			}
		}
	}
}

func (p *party) neighbours() {
	d, at, guess := p.doors(), p.begins(), p.names(p.between(0, 70))
	w := p.net.anywhere(p.dice, hosting, 10)
	list := p.net.block(p.dice, w, p.between(120, 250))
	if p.chance(33) { // among people
		w = pick(p.dice, p.net.local[homes])
		list = p.net.among(p.dice, w, p.between(100, 200))
	}
	var sources []endpoint
	for _, a := range list {
		sources = append(sources, endpoint{addr: a, name: reverse(p.dice, w, a)})
	}
	lasts := p.wideSpan(time.Hour, max(2*time.Hour, p.o.length()-at-time.Hour))
	rounds := p.between(2, 4)
	for range rounds {
		for _, e := range some(p.dice, sources, len(sources)) {
			p.try(at, p.IntN(len(p.hosts)), e, d, guess())
			at += p.wait(lasts / time.Duration(rounds*len(sources)))
		}
	}
}
