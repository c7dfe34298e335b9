package loader

import "net/netip"

// Prefixes to keys of the tables and back. Callers have validated: sources
// are an IPv4 /32 or an IPv6 /64, prefixes are wider.

func source4(p netip.Prefix) datapathSource4 {
	return datapathSource4{Addr: p.Addr().As4()}
}

func source6(p netip.Prefix) (k datapathSource6) {
	a := p.Addr().As16()
	copy(k.Net[:], a[:])
	return k
}

func prefix4(p netip.Prefix) datapathPrefix4 {
	return datapathPrefix4{Bits: uint32(p.Bits()), Addr: p.Masked().Addr().As4()}
}

func prefix6(p netip.Prefix) datapathPrefix6 {
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
