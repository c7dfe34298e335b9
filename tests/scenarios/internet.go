package scenarios

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// use is what a network's addresses are used for.
type use uint8

const (
	homes    use = iota // access lines of people, some behind their provider's NAT
	mobile              // phones behind a carrier's NAT
	business            // access lines of offices
	hosting             // servers that anybody can rent
	useCount
)

// network is what one provider announces: a /16 and an IPv6 /32.
type network struct {
	country string
	number  uint32 // of the autonomous system
	use     use
	v4      uint32
	v6      uint64       // its upper half
	pool    []netip.Addr // addresses of its NAT, if it has one
}

// internet is where addresses come from. None is given out twice; those of a
// carrier's pool are shared by design.
//
// IPv4 addresses are of 240.0.0.0/4, which RFC 1112 section 4 reserves, IPv6
// ones of 3fff::/20 (RFC 9637): enough for a whole world of providers, and
// nobody's.
type internet struct {
	networks []*network
	byUse    [useCount][]*network // of all countries
	local    [useCount][]*network // of the site's own country
	taken4   map[uint32]bool
	taken6   map[uint64]bool
}

const ownCountry = "AT"

var countries = []string{
	ownCountry, "DE", "CH", "IT", "FR", "ES", "GB", "NL", "PL", "CZ", "US", "CA", "BR", "AR", "MX", "IN", "CN", "VN", "ID",
	"TH", "JP", "KR", "RU", "UA", "TR", "IR", "EG", "NG", "ZA", "KE", "AU", "SE", "RO", "BG", "GR", "PT", "MY", "PH", "PK", "BD",
}

func newInternet(seed uint64) *internet {
	d := newDice(seed, "internet")
	n := &internet{taken4: make(map[uint32]bool), taken6: make(map[uint64]bool)}
	for i, country := range countries {
		counts := [useCount]int{homes: 2, mobile: 1, business: 1, hosting: 1 + i%2}
		if i == 0 {
			counts = [useCount]int{homes: 4, mobile: 3, business: 2, hosting: 2}
		}
		for kind, count := range counts {
			for range count {
				n.announce(d, country, use(kind))
			}
		}
	}
	return n
}

func (n *internet) announce(d dice, country string, kind use) {
	i := uint32(len(n.networks))
	w := &network{country: country, number: 64512 + i, use: kind, v4: 240<<24 + i<<16, v6: 0x3fff<<48 + uint64(i)<<32}
	n.networks = append(n.networks, w)
	n.byUse[kind] = append(n.byUse[kind], w)
	if country == ownCountry {
		n.local[kind] = append(n.local[kind], w)
	}
	if kind == homes || kind == mobile {
		// The NAT's addresses stand in a few blocks.
		blocks := []int{d.IntN(256), d.IntN(256), d.IntN(256)}
		for range d.between(60, 400) {
			w.pool = append(w.pool, n.v4Of(d, w, pick(d, blocks)))
		}
	}
}

func addr4(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

func addr6(upper, lower uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], upper)
	binary.BigEndian.PutUint64(b[8:], lower)
	return netip.AddrFrom16(b)
}

// v4Of gives out an address of the /24 number block of w, or of another one
// if that is full.
func (n *internet) v4Of(d dice, w *network, block int) netip.Addr {
	for tries := 0; ; tries++ {
		if tries > 500 {
			block = d.IntN(256)
		}
		if v := w.v4 + uint32(block)<<8 + uint32(d.between(1, 254)); !n.taken4[v] {
			n.taken4[v] = true
			return addr4(v)
		}
	}
}

// address gives out an IPv4 address of w.
func (n *internet) address(d dice, w *network) netip.Addr { return n.v4Of(d, w, d.IntN(256)) }

// block gives out count neighbours of a /24 of w that is otherwise empty.
func (n *internet) block(d dice, w *network, count int) (list []netip.Addr) {
	for {
		base := w.v4 + uint32(d.IntN(256))<<8
		empty := true
		for i := range uint32(256) {
			empty = empty && !n.taken4[base+i]
		}
		if !empty {
			continue
		}
		for i := range uint32(256) {
			n.taken4[base+i] = true
		}
		for _, i := range d.Perm(254)[:min(count, 254)] {
			list = append(list, addr4(base+1+uint32(i)))
		}
		return list
	}
}

// among gives out count neighbours of a /24 of w in which others live.
func (n *internet) among(d dice, w *network, count int) (list []netip.Addr) {
	block := d.IntN(256)
	for range count {
		list = append(list, n.v4Of(d, w, block))
	}
	return list
}

// site6 gives out a /48 of w, as the upper half of its addresses. The first ones
// are those of homes.
func (n *internet) site6(d dice, w *network) uint64 {
	for {
		if v := w.v6 + uint64(d.between(64, 1<<16-1))<<16; !n.taken6[v] {
			n.taken6[v] = true
			return v
		}
	}
}

// home6 gives out a /56 that shares its /48 with others' lines.
func (n *internet) home6(d dice, w *network) uint64 {
	for {
		if v := w.v6 + uint64(d.IntN(64))<<16 + uint64(d.between(1, 255))<<8; !n.taken6[v] {
			n.taken6[v] = true
			return v
		}
	}
}

// anywhere picks a network of a use, the site's own country's p times out of a
// hundred.
func (n *internet) anywhere(d dice, kind use, p int) *network {
	if d.chance(p) {
		return pick(d, n.local[kind])
	}
	return pick(d, n.byUse[kind])
}

// place tells where an address is: the country, and the number of the
// autonomous system that announces it.
func (n *internet) place(a netip.Addr) (country string, number uint32, known bool) {
	var i int
	switch b := a.AsSlice(); {
	case a.Is4() && b[0] >= 240:
		i = int(b[0]-240)<<8 + int(b[1])
	case a.Is6() && b[0] == 0x3f && b[1] == 0xff:
		i = int(b[2])<<8 + int(b[3])
	default:
		return "", 0, false
	}
	if i >= len(n.networks) {
		return "", 0, false
	}
	return n.networks[i].country, n.networks[i].number, true
}

// reverse is the name of an address, as its provider would have made it.
func reverse(d dice, w *network, a netip.Addr) string {
	if d.chance(25) {
		return "" // there is none
	}
	b := a.AsSlice()
	last := int(b[len(b)-2])<<8 + int(b[len(b)-1])
	switch w.use {
	case homes:
		return fmt.Sprintf("dyn-%d.as%d.example", last, w.number)
	case mobile:
		return fmt.Sprintf("nat-%d.as%d.example", last, w.number)
	case business:
		return fmt.Sprintf("static-%d.as%d.example", last, w.number)
	}
	return fmt.Sprintf("vps%d.as%d.example", last, w.number)
}
