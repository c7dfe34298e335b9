package scenarios

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"weir/tests/mixlog"
)

// site is a provider of mail, and all who have to do with it.
type site struct {
	o         Options
	net       *internet
	hosts     []mixlog.Setup
	start     time.Time
	reads     bool // a server of the site tells who reads mail
	users     []*user
	spare     []*user // whom no party has taken yet
	commuters []*user // of the office, who read mail elsewhere as well
	visits    []visit
}

// visit is a session of a party.
type visit struct {
	mixlog.Visit
	party uint8
}

// user is an account, and the line at its owner's home.
type user struct {
	name string
	host int
	home *line
}

// party is one that takes part, good or bad, while it makes its visits.
type party struct {
	*site
	dice
	name string
	id   uint8
	bad  bool
}

// role is a party that scenarios can have.
type role struct {
	name string
	tell string // what it does, in a few words
	play func(*party)
}

func indexOf(roles []role, name string) int {
	for i := range roles {
		if roles[i].name == name {
			return i
		}
	}
	return -1
}

var (
	givenNames = strings.Fields(`anna ben carla david elena felix greta hugo ines jonas klara leo maria nico olga paul rosa simon tina
		ulrich vera walter yara zoe lukas sofia emma noah mia finn lena jakob laura moritz nina oskar petra robert sara thomas`)
	familyNames = strings.Fields(`mueller smith rossi martin novak jansen silva kowalski nielsen garcia weber dubois larsen horvat popov
		keller moreau brandt costa lind fischer meyer gruber huber wagner bauer pichler steiner moser mayer hofer leitner berger fuchs`)
	ourDomains   = []string{"example.org", "example.net", "mail.example.com", "shop.example.org", "verein.example.net"}
	otherDomains = []string{"example.edu", "provider.example", "firma.example", "uni.example", "news.example", "bank.example"}
	commonNames  = strings.Fields(`admin info test sales support office postmaster webmaster contact user root scanner mail backup
		service demo oracle www noreply marketing guest hr billing accounts team hello jobs press shop newsletter printer fax`)
)

func newSite(o Options) *site {
	d := newDice(o.Seed, "site")
	s := &site{o: o, net: newInternet(o.Seed), reads: o.Mix != MixPostfix}
	s.start = time.Date(2026, time.November, 16, d.IntN(24), 0, 0, 0, time.UTC).AddDate(0, 0, d.IntN(7))
	s.hosts = setups(d, o.Mix)
	named := make(map[string]bool)
	for len(s.users) < o.Users {
		local := pick(d, givenNames) + "." + pick(d, familyNames)
		if d.chance(30) {
			local = pick(d, givenNames)[:1] + pick(d, familyNames)
		}
		if n := d.IntN(60); n > 0 {
			local += fmt.Sprint(n)
		}
		name := local + "@" + pick(d, ourDomains)
		if named[name] {
			continue
		}
		named[name] = true
		s.users = append(s.users, &user{name: name, host: d.IntN(len(s.hosts)), home: s.newLine(d)})
	}
	for _, i := range d.Perm(len(s.users)) {
		s.spare = append(s.spare, s.users[i])
	}
	return s
}

// setups are the hosts of a mix. How they are set up differs from site to site.
func setups(d dice, m Mix) (list []mixlog.Setup) {
	kinds := map[Mix]string{MixPostfix: "pp", MixDovecot: "ddd", MixExim: "ee", MixAll: "pdde"}[m]
	for i, kind := range kinds {
		h := mixlog.Setup{Name: fmt.Sprintf("mx%d", i+1), Screen: d.chance(50), LongIDs: d.chance(40)}
		switch kind {
		case 'p': // its version and its SASL library decide whether failures have names
			h.UserNamed, h.Filter = !d.chance(15), d.chance(30)
		case 'd':
			h.UserNamed, h.Verbose, h.Worker, h.Dovecot24, h.Filter = d.chance(70), !d.chance(25), d.chance(40), d.chance(40), d.chance(20)
			h.Verbose = h.Verbose || !h.UserNamed
		case 'e':
			h.Exim, h.Recipients, h.Verbose, h.Worker = true, d.chance(60), d.chance(60), d.chance(40)
		}
		list = append(list, h)
	}
	return list
}

// take takes n users whom nobody has taken.
func (s *site) take(n int) []*user {
	n = min(n, len(s.spare))
	taken := s.spare[:n]
	s.spare = s.spare[n:]
	return taken
}

// share returns a count for a site of 3,000 users as it is for this one.
func (s *site) share(n int) int { return max(1, int(math.Round(float64(n)*float64(s.o.Users)/3000))) }

// endpoint is a client's end of a connection.
type endpoint struct {
	addr       netip.Addr
	name, helo string
}

// add adds a session that e has with a host.
func (p *party) add(at time.Duration, host int, e endpoint, v mixlog.Visit) {
	if at < 0 || at >= p.o.length() {
		return
	}
	v.At, v.Host, v.Client, v.Name, v.Helo = at.Truncate(time.Microsecond), host, e.addr, e.name, e.helo
	p.visits = append(p.visits, visit{v, p.id})
}

// clock returns the time of day at a time since the log's start.
func (s *site) clock(at time.Duration) time.Duration {
	return (time.Duration(s.start.Hour())*time.Hour + at) % day
}

// at returns the first time not before from at which the clock shows hour.
func (s *site) at(from, hour time.Duration) time.Duration {
	return from + (hour-s.clock(from)+day)%day
}

// rhythm is how busy somebody is at a time of day, from 0 to 1, by the hour.
type rhythm [24]float64

var (
	workday = rhythm{6: .1, 7: .5, 8: 1, 9: 1, 10: 1, 11: 1, 12: .6, 13: .9, 14: 1, 15: 1, 16: .9, 17: .5, 18: .15}
	waking  = rhythm{0: .1, 1: .03, 6: .3, 7: .7, 8: .6, 9: .5, 10: .5, 11: .5, 12: .7, 13: .6, 14: .5, 15: .5, 16: .6, 17: .8,
		18: 1, 19: 1, 20: 1, 21: .9, 22: .6, 23: .3}
	servers = rhythm{.4, .35, .35, .35, .4, .5, .6, .8, 1, 1, 1, 1, .9, 1, 1, 1, .9, .8, .7, .6, .6, .5, .5, .4}
	always  = rhythm{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
)

// times calls do at random times from one to another, on the average every
// mean when r is at its height.
func (p *party) times(from, to, mean time.Duration, r *rhythm, do func(at time.Duration)) {
	to = min(to, p.o.length())
	for at := from + p.wait(mean); at < to; at += p.wait(mean) {
		if p.Float64() < r[int(p.clock(at)/time.Hour)] {
			do(at)
		}
	}
}
