package loader

import "net/netip"

// which names one of the four tables.
type which int

const (
	sources4 which = iota
	sources6
	prefixes4
	prefixes6
)

// tableOf tells where a valid prefix stands: an IPv4 /32 and an IPv6 /64 are
// sources, what is wider is a prefix.
func tableOf(p netip.Prefix) which {
	switch {
	case p.Addr().Is4() && p.IsSingleIP():
		return sources4
	case p.Addr().Is4():
		return prefixes4
	case p.Bits() == sourceBits6:
		return sources6
	}
	return prefixes6
}

// sorted are the keys of prefixes, by table.
type sorted struct {
	sources4  []datapathSource4
	sources6  []datapathSource6
	prefixes4 []datapathPrefix4
	prefixes6 []datapathPrefix6
}

func (s *sorted) add(p netip.Prefix) which {
	w := tableOf(p)
	switch w {
	case sources4:
		s.sources4 = append(s.sources4, keyOfSource4(p))
	case sources6:
		s.sources6 = append(s.sources6, keyOfSource6(p))
	case prefixes4:
		s.prefixes4 = append(s.prefixes4, keyOfPrefix4(p))
	case prefixes6:
		s.prefixes6 = append(s.prefixes6, keyOfPrefix6(p))
	}
	return w
}

func keyOfSource4(p netip.Prefix) datapathSource4 {
	return datapathSource4{Addr: p.Addr().As4()}
}

func keyOfSource6(p netip.Prefix) (k datapathSource6) {
	a := p.Addr().As16()
	copy(k.Net[:], a[:])
	return k
}

func keyOfPrefix4(p netip.Prefix) datapathPrefix4 {
	return datapathPrefix4{Bits: uint32(p.Bits()), Addr: p.Masked().Addr().As4()}
}

func keyOfPrefix6(p netip.Prefix) datapathPrefix6 {
	k := datapathPrefix6{Bits: uint32(p.Bits())}
	a := p.Masked().Addr().As16()
	copy(k.Net[:], a[:])
	return k
}

func prefixOfSource4(k datapathSource4) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4(k.Addr), 32)
}

func prefixOfSource6(k datapathSource6) netip.Prefix {
	return netip.PrefixFrom(upper(k.Net), sourceBits6)
}

func prefixOfPrefix4(k datapathPrefix4) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4(k.Addr), int(k.Bits))
}

func prefixOfPrefix6(k datapathPrefix6) netip.Prefix {
	return netip.PrefixFrom(upper(k.Net), int(k.Bits))
}

// upper is the address with these upper 64 bits and no others.
func upper(net [8]byte) netip.Addr {
	var a [16]byte
	copy(a[:], net[:])
	return netip.AddrFrom16(a)
}
