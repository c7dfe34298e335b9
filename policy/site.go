package policy

import (
	"math"
	"time"
)

// What a site is like is learned: until it has been watched for learnFor, and
// learnSuccesses logins have succeeded, nothing follows from not being known.
const (
	learnFor       = 12 * time.Hour
	learnSuccesses = 100
)

// maxNetworks bounds the networks that are remembered.
const maxNetworks = 1 << 16

// site is what is known of the whole site.
type site struct {
	began     int64 // time of the first event
	successes uint64
	users     int // that ever succeeded and are remembered
	networks  map[Source]int64
	failures  pressure
	harvest   pressure
}

// learned reports whether the site is known well enough that a user or a
// network that never succeeded here means something.
func (s *site) learned(at int64) bool {
	return s.successes >= learnSuccesses && at-s.began >= int64(learnFor)
}

// learn notes that somebody succeeded from source who is no stranger there.
// Networks are forgotten when nobody has succeeded from them for FamiliarFor;
// beyond the bound no more are learned until then.
func (s *site) learn(source Source, at int64) {
	network := source.network()
	last, known := s.networks[network]
	switch {
	case known && at-last < int64(time.Hour):
		return
	case !known && len(s.networks) >= maxNetworks:
		return
	}
	if s.networks == nil {
		s.networks = make(map[Source]int64)
	}
	s.networks[network] = max(at, last)
}

// foreign reports whether nobody is known to succeed from the network of
// source, and the site is known well enough to say so.
func (s *site) foreign(source Source, at int64) bool {
	if !s.learned(at) {
		return false
	}
	last, known := s.networks[source.network()]
	return !known || at-last > int64(FamiliarFor)
}

// gauge returns the pressure that offences of a kind add to.
func (s *site) gauge(k Kind) *pressure {
	if k == UnknownRecipient {
		return &s.harvest
	}
	return &s.failures
}

// pressed reports whether strangers offend far more than is normal here.
func (s *site) pressed(k Kind, at int64) bool { return s.gauge(k).on(at, s.users) }

// pressure compares how many strangers offend now with how many do so
// normally. A stranger counts once, when RedeemWithin has passed since its
// first offence and it has not succeeded: people who mistype do, and so do
// telephones that somebody corrects.
//
// Both rates are exponential averages, over pressureFast and pressureSlow. The
// slow one learns ten times slower while there is pressure, or a patient
// attacker would become what is normal.
type pressure struct {
	last       int64
	fast, slow float64 // strangers an hour
}

const (
	pressureFast = time.Hour
	pressureSlow = 7 * 24 * time.Hour
	farAbove     = 4.0 // times the normal rate
	fewStrangers = 4.0 // an hour, are no pressure on any site;
	fewPerUser   = 0.001
)

// decay brings both rates to a time. Events that come late are of now.
func (p *pressure) decay(at int64) {
	if p.last != 0 && at > p.last {
		passed := float64(at - p.last)
		p.fast *= math.Exp(-passed / float64(pressureFast))
		p.slow *= math.Exp(-passed / float64(pressureSlow))
	}
	p.last = max(p.last, at)
}

// add counts one stranger.
func (p *pressure) add(at int64, users int) {
	pressed := p.on(at, users)
	p.fast += float64(time.Hour) / float64(pressureFast)
	learn := float64(time.Hour) / float64(pressureSlow)
	if pressed {
		learn /= 10
	}
	p.slow += learn
}

// on reports whether there is pressure on a site with so many users.
func (p *pressure) on(at int64, users int) bool {
	if p.fast == 0 {
		return false
	}
	p.decay(at)
	return p.fast > fewStrangers+fewPerUser*float64(users) && p.fast > farAbove*p.slow
}
