package scenarios

import "time"

// spam sends messages of a stolen account in one session.
func (p *party) spam(at time.Duration, u *user, e endpoint, messages, low, high int) {
	counts := make([]int, messages)
	for i := range counts {
		counts[i] = p.between(low, high)
	}
	p.sending(at, u, e, counts...)
}

func (p *party) stolenOneSource() {
	for range p.between(1, 2) {
		u, e, at := pick(p.dice, p.users), p.rented(30), p.begins()
		low := p.wide(1, 20)
		high := p.wide(low, 60)
		gap := p.wideSpan(2*time.Second, 40*time.Second)
		for left := p.wide(1000, 4000); left > 0; {
			n := min(left, p.between(1, 3))
			p.spam(at, u, e, n, low, high)
			left -= n
			at += p.jitter(gap, 0.7)
		}
	}
}

func (p *party) stolenEverywhere() {
	u, at := pick(p.dice, p.users), p.begins()
	sources := p.botnetOf(p.share(p.wide(300, 2000)), p.between(30, 100))
	lasts := p.wideSpan(20*time.Minute, 12*time.Hour)
	low := p.wide(1, 10)
	high := p.wide(low, 50)
	reads := p.chance(30) // some look into the mailbox as well
	for range 2 {
		for _, e := range some(p.dice, sources, len(sources)) {
			if reads && p.chance(20) {
				p.reading(at-time.Second, u, e)
			}
			p.spam(at, u, e, 1, low, high)
			at += p.wait(lasts / time.Duration(2*len(sources)))
		}
		if p.chance(40) { // the second comes later
			at += p.span(time.Hour, 8*time.Hour)
		}
	}
}

func (p *party) stolenDripping() {
	messages, low := p.wide(60, 200), p.between(8, 20)
	high, works := low+p.between(0, 20), p.rests()
	for _, u := range some(p.dice, p.users, p.share(p.wide(10, 80))) {
		for at := p.begins(); at < p.o.length(); at += day {
			sources := p.botnetOf(p.between(2, 5), 60)
			for range messages {
				if when := at + p.span(0, day-1); works(when) {
					p.spam(when, u, pick(p.dice, sources), 1, low, high)
				}
			}
		}
	}
}

// guessed is a brute force that is lucky, and whoever buys what it has found.
func (p *party) guessed() {
	for range p.between(2, 5) {
		u, at, d := pick(p.dice, p.users), p.begins(), p.doors()
		guessers := p.botnetOf(p.wide(1, 8), 40)
		every := p.wideSpan(3*time.Second, 20*time.Minute)
		for range p.wide(5, 60) {
			p.try(at, u.host, pick(p.dice, guessers), d, u.name)
			at += p.jitter(every, 0.5)
		}
		if p.reads {
			p.reading(at, u, pick(p.dice, guessers))
		} else {
			p.spam(at, u, pick(p.dice, guessers), 1, 1, 1)
		}
		at += p.wideSpan(10*time.Minute, 12*time.Hour)
		sources, gap := p.botnetOf(p.wide(1, 100), 50), p.wideSpan(2*time.Second, 2*time.Minute)
		for range p.wide(200, 1500) {
			p.spam(at, u, pick(p.dice, sources), 1, 1, 40)
			at += p.wait(gap)
		}
	}
}
