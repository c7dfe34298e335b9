package policy

import (
	"math"
	"math/bits"
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
	networks  networkTable
	failures  pressure
	harvest   pressure
	mail      pressure // recipients of strangers, see userState.counts
}

// newSite returns a site of which nothing is known.
func newSite() site {
	return site{
		networks: networkTable{key: newSourceKey()},
		failures: pressure{few: 4, each: 0.001},
		harvest:  pressure{few: 15, each: 0.001},
		mail:     pressure{few: 100, each: 0.15},
	}
}

// learned reports whether the site is known well enough that a user or a
// network that never succeeded here means something.
func (s *site) learned(at int64) bool {
	return s.successes >= learnSuccesses && at-s.began >= int64(learnFor)
}

// youngFor is how long nobody behind an address can have shown what it is. An
// office whose telephones fail and whose people mistype looks like a guesser of
// many names then.
const youngFor = time.Hour

// young reports whether the site has been watched for less than that.
func (s *site) young(at int64) bool { return at-s.began < int64(youngFor) }

// locals is who succeeds from a network. One user alone makes a network known
// only if it is no stranger there itself, and in time: a password that all the
// world uses would make all the world known.
type locals struct {
	last   int64 // success of anybody
	users  uint32
	native familiarity // of users who are no strangers
}

const (
	localAfter = 12 * time.Hour
	localUsers = 4
)

// learn notes that a user succeeded from source. Beyond the bound no more
// networks are learned.
func (s *site) learn(source Source, user uint32, native bool, at int64) {
	network := source.network()
	l := s.networks.find(network)
	if l == nil && s.networks.len() >= maxNetworks || l != nil && l.users&user != 0 && at-l.last < int64(10*time.Minute) {
		return
	}
	l = s.networks.enter(network)
	if at-l.last > int64(FamiliarFor) {
		*l = locals{}
	}
	if native {
		l.native.learn(at)
	}
	l.last = max(l.last, at)
	l.users |= user
}

// foreign reports whether nobody is known to succeed from the network of
// source, and the site is known well enough to say so.
func (s *site) foreign(source Source, at int64) bool {
	if !s.learned(at) {
		return false
	}
	l := s.networks.find(source.network())
	return l == nil || at-l.last > int64(FamiliarFor) || bits.OnesCount32(l.users) < localUsers && !l.native.since(at, localAfter)
}

// few reports whether hardly any of the site's users succeed from the network of
// source, less than one in fewUsers, and not many. Where a single one does, or
// a thief has for a while, a network is not foreign any more; most of it still
// has nothing to do with the site.
func (s *site) few(source Source, at int64) bool {
	if !s.learned(at) {
		return false
	}
	l := s.networks.find(source.network())
	return l == nil || bits.OnesCount32(l.users) < min(s.users/fewUsers, popularUsers)
}

const fewUsers = 32

// popular reports whether many succeed from the network of source: it is a
// provider of the site's own country or town.
func (s *site) popular(source Source) bool {
	l := s.networks.find(source.network())
	return l != nil && bits.OnesCount32(l.users) >= popularUsers
}

// popularUsers is of 32 bits, which half are set when some twenty users succeed.
const popularUsers = 16

// gauge returns the pressure that offences of a kind add to.
func (s *site) gauge(k Kind) *pressure {
	if k == UnknownRecipient {
		return &s.harvest
	}
	return &s.failures
}

// pressed reports whether strangers offend far more than is normal here.
func (s *site) pressed(k Kind, at int64) bool { return s.gauge(k).on(at, s.users) }

// pressure compares how much strangers offend now with how much they do so
// normally. Of failed logins a stranger's first counts when RedeemWithin has
// passed and it has not succeeded (people who mistype do, and so do telephones
// that somebody corrects), and from then on each; of unknown recipients each
// counts at once, until the source has brought mail.
//
// Who is found harvesting is dropped and offends no more. Where many ask, each a
// little, the gauge would so fall as they are found, and the next ones would each
// be given their six tries. So a find counts as well.
//
// Both rates are exponential averages, over pressureFast and pressureSlow. The
// slow one learns ten times slower while there is pressure, or a patient
// attacker would become what is normal.
type pressure struct {
	last       int64
	few        float64 // offences an hour that are no pressure on any site
	each       float64 // and more for each of its users
	fast, slow float64 // offences an hour
}

const (
	pressureFast = time.Hour
	pressureSlow = 7 * 24 * time.Hour
	farAbove     = 4.0 // times the normal rate

	foundHarvester = 5 // offences that a source found harvesting counts for
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

// add counts offences.
func (p *pressure) add(at int64, users int, n float64) {
	pressed := p.on(at, users)
	p.fast += n * float64(time.Hour) / float64(pressureFast)
	learn := float64(time.Hour) / float64(pressureSlow)
	if pressed {
		learn /= 10
	}
	p.slow += n * learn
}

// on reports whether there is pressure on a site with so many users.
func (p *pressure) on(at int64, users int) bool {
	if p.fast == 0 {
		return false
	}
	p.decay(at)
	return p.fast > p.few+p.each*float64(users) && p.fast > farAbove*p.slow
}
