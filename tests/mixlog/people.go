package mixlog

import (
	"net/netip"
	"strconv"
)

// peer is a client's end of a connection.
type peer struct {
	addr netip.Addr
	text string // addr as servers write it
	name string // its reverse name, looked up in both directions; "unknown" if there is none
	helo string
}

// account is a mailbox and the places that its owner sends and reads from.
type account struct {
	name   string
	places [3]peer // at home, in an office that many share, on the road
}

// people are all who take part.
type people struct {
	accounts []account
	names    map[string]bool // of accounts
	mailers  []peer          // other sites' servers
	bots     []peer          // hosts of botnets
	guesses  []string        // names that guessers try, most of which do not exist
	strange  []string        // recipients elsewhere
}

// Addresses are from the ranges for benchmarks: 198.18.0.0/15 (RFC 2544
// section C.2.2) and 2001:2::/48 (RFC 5180 section 8), and IPv6 networks of
// 2001:db8::/32 (RFC 3849), since those for benchmarks have too few.
const sourcesV4 = 1 << 17

// addressV4 returns the address number n. Neighbours in number are none in
// address: the step is odd, so that none comes twice.
func addressV4(n int) netip.Addr {
	i := uint32(n) * 40503 % sourcesV4
	return netip.AddrFrom4([4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)})
}

// addressV6 returns an address of network number n.
func addressV6(n int, host uint64) netip.Addr {
	a := [16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: byte(n >> 24), 5: byte(n >> 16), 6: byte(n >> 8), 7: byte(n)}
	for i := range 8 {
		a[8+i] = byte(host >> (56 - 8*i))
	}
	return netip.AddrFrom16(a)
}

var (
	givenNames = []string{
		"anna", "ben", "carla", "david", "elena", "felix", "greta", "hugo", "ines", "jonas", "klara", "leo", "maria",
		"nico", "olga", "paul", "rosa", "simon", "tina", "ulrich", "vera", "walter", "yara", "zoe", "lukas", "sofia",
	}
	familyNames = []string{
		"mueller", "smith", "rossi", "martin", "novak", "jansen", "silva", "kowalski", "nielsen", "garcia", "weber",
		"dubois", "larsen", "horvat", "popov", "keller", "moreau", "brandt", "costa", "lind", "fischer", "meyer",
	}
	ourDomains   = []string{"example.org", "example.net", "mail.example.com", "shop.example.org", "verein.example.net"}
	otherDomains = []string{"example.edu", "provider.example", "firma.example", "uni.example", "news.example", "bank.example"}
	guessedNames = []string{
		"admin", "info", "test", "sales", "support", "office", "postmaster", "webmaster", "contact", "user", "root",
		"scanner", "mail", "backup", "service", "demo", "oracle", "www", "noreply", "marketing", "guest", "hr",
	}
)

func newPeople(r *random, o Options) (p people) {
	v4, v6 := 0, 1
	next := func(sixes int, name, helo func(netip.Addr) string) peer {
		var a netip.Addr
		if r.chance(sixes) {
			v6++
			a = addressV6(v6, r.next())
		} else {
			v4++
			a = addressV4(v4)
		}
		return peer{addr: a, text: a.String(), name: name(a), helo: helo(a)}
	}
	unknown := func(netip.Addr) string { return "unknown" }
	literal := func(a netip.Addr) string {
		if a.Is4() {
			return "[" + a.String() + "]"
		}
		return "[IPv6:" + a.String() + "]"
	}
	dynamic := func(netip.Addr) string {
		if r.chance(30) {
			return "unknown"
		}
		return "dyn-" + strconv.Itoa(r.below(1e6)) + ".pool.provider.example"
	}
	laptop := func(netip.Addr) string { return pick(r, givenNames) + "-pc" }

	offices := make([]peer, max(2, o.Accounts/80))
	for i := range offices {
		offices[i] = next(0, func(netip.Addr) string { return "gw" + strconv.Itoa(i) + ".firma.example" }, literal)
	}
	road := make([]peer, max(20, o.Accounts/4))
	for i := range road {
		road[i] = next(40, unknown, literal)
	}
	p.accounts = make([]account, o.Accounts)
	for i := range p.accounts {
		p.accounts[i] = account{
			name: pick(r, givenNames) + "." + pick(r, familyNames) + strconv.Itoa(i) + "@" + pick(r, ourDomains),
			places: [3]peer{
				next(40, dynamic, laptop),
				offices[i%len(offices)],
				pick(r, road),
			},
		}
	}
	p.names = make(map[string]bool, len(p.accounts))
	for i := range p.accounts {
		p.names[p.accounts[i].name] = true
	}
	p.mailers = make([]peer, 1500)
	for i := range p.mailers {
		name := "mail" + strconv.Itoa(i) + "." + pick(r, otherDomains)
		p.mailers[i] = next(25, func(netip.Addr) string { return name }, func(netip.Addr) string { return name })
	}
	p.bots = make([]peer, o.Bots)
	for i := range p.bots {
		p.bots[i] = next(3, dynamic, func(a netip.Addr) string {
			return pick(r, []string{"User", "ylmf-pc", "WIN-" + strconv.Itoa(r.below(1e6)), "[127.0.0.1]", "localhost", a.String()})
		})
	}
	p.guesses = make([]string, 4096)
	for i := range p.guesses {
		switch r.below(4) {
		case 0:
			p.guesses[i] = pick(r, guessedNames)
		case 1:
			p.guesses[i] = p.accounts[r.below(len(p.accounts))].name
		default:
			p.guesses[i] = pick(r, guessedNames) + strconv.Itoa(r.below(100)) + "@" + pick(r, ourDomains)
		}
	}
	p.strange = make([]string, 4096)
	for i := range p.strange {
		p.strange[i] = pick(r, givenNames) + "." + pick(r, familyNames) + strconv.Itoa(i) + "@" + pick(r, otherDomains)
	}
	return p
}

// has reports whether there is an account of that name.
func (p *people) has(name string) bool { return p.names[name] }
