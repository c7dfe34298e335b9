package policy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// SourceBits6 is the length of the IPv6 prefix that is judged as one source.
// A provider hands a customer at least a /64, so a single IPv6 address says
// nothing about who is behind it (RFC 6177, BCP 157).
const SourceBits6 = 64

// Source is a client as the unit that is judged: one IPv4 address, or one
// IPv6 /64. It is comparable and holds no pointer, so that maps of a million
// sources cost the garbage collector nothing. The zero Source is invalid.
type Source struct {
	net    uint64 // IPv4: the address; IPv6: the upper 64 bits
	family uint8  // 0 invalid, 4 or 6
}

// SourceOf returns the source that addr belongs to. An IPv4-mapped IPv6
// address counts as IPv4 (RFC 4291 section 2.5.5.2). An invalid addr gives
// the invalid Source.
func SourceOf(addr netip.Addr) Source {
	switch {
	case !addr.IsValid():
		return Source{}
	case addr.Is4() || addr.Is4In6():
		b := addr.As4()
		if addr.Is4In6() {
			b = addr.Unmap().As4()
		}
		return Source{net: uint64(binary.BigEndian.Uint32(b[:])), family: 4}
	default:
		b := addr.As16()
		return Source{net: binary.BigEndian.Uint64(b[:8]), family: 6}
	}
}

// IsValid reports whether s names a source.
func (s Source) IsValid() bool { return s.family != 0 }

// Prefix returns s as a prefix: a /32 for IPv4, a /64 for IPv6.
func (s Source) Prefix() netip.Prefix {
	switch s.family {
	case 4:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(s.net))
		return netip.PrefixFrom(netip.AddrFrom4(b), 32)
	case 6:
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], s.net)
		return netip.PrefixFrom(netip.AddrFrom16(b), SourceBits6)
	}
	return netip.Prefix{}
}

// neighbourhood returns the net of s within which sources are judged together,
// as the source that it begins with: an IPv4 /24, an IPv6 /48, which is what
// one customer of a host or a provider holds at most (BCP 157).
func (s Source) neighbourhood() Source { return s.masked(8, 16) }

// network returns the net that is taken for one provider's, as the source that
// it begins with: an IPv4 /16, an IPv6 /32, which is what registries give out.
func (s Source) network() Source { return s.masked(16, 32) }

// masked clears the last bits, of 32 or of 64.
func (s Source) masked(bits4, bits6 uint) Source {
	if s.family == 4 {
		s.net = s.net >> bits4 << bits4
	} else {
		s.net = s.net >> bits6 << bits6
	}
	return s
}

// String writes an IPv4 source as its address and an IPv6 source as its /64.
func (s Source) String() string { return PrefixString(s.Prefix()) }

// PrefixString writes p as operators write it: a single IPv4 address without
// its /32, everything else in CIDR form.
func PrefixString(p netip.Prefix) string {
	if p.IsValid() && p.Addr().Is4() && p.Bits() == 32 {
		return p.Addr().String()
	}
	return p.String()
}

// JudgedPrefix returns the form in which p is judged and enforced: masked,
// unmapped to IPv4 where it is IPv4-mapped, and never narrower than a source
// (an IPv6 prefix longer than /64 becomes its /64).
func JudgedPrefix(p netip.Prefix) netip.Prefix {
	if !p.IsValid() {
		return p
	}
	addr, bits := p.Addr(), p.Bits()
	if addr.Is4In6() && bits >= 96 {
		addr, bits = addr.Unmap(), bits-96
	}
	if addr.Is6() {
		bits = min(bits, SourceBits6)
	}
	return netip.PrefixFrom(addr.WithZone(""), bits).Masked()
}

// ParsePrefix reads an address or a prefix as operators write it and returns
// it in judged form.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		if p, err := netip.ParsePrefix(s); err == nil {
			return JudgedPrefix(p), nil
		}
	} else if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return JudgedPrefix(netip.PrefixFrom(a, a.BitLen())), nil
	}
	return netip.Prefix{}, fmt.Errorf("bad prefix %q: want an address or a prefix, such as 192.0.2.7 or 2001:db8::/32", s)
}
