package live

import (
	"encoding/binary"
	"net/netip"
)

// Sources are numbered, and each number is another source: a number is mixed
// by steps that can all be undone, a multiplication by an odd number and an
// exclusive or with its own upper bits. The generator takes the same steps,
// see mix4 and mix6. The addresses lie all over 64.0.0.0/3, which has no
// address that a host refuses as a source, and over 2000::/3.
const (
	net4   = 0x40000000
	bits4  = 29
	mask4  = 1<<bits4 - 1
	odd4a  = 0x9e3779b1
	shift4 = 15
	odd4b  = 0x85ebca77

	net6   = 0x2000_0000_0000_0000
	bits6  = 61
	mask6  = 1<<bits6 - 1
	odd6   = 0x9e3779b97f4a7c15
	shift6 = 32
)

// Source4 is the IPv4 source of number i, which is below 2^29.
func Source4(i uint32) netip.Addr {
	x := i * odd4a & mask4
	x ^= x >> shift4
	x = x * odd4b & mask4
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], net4|x)
	return netip.AddrFrom4(a)
}

// Source6 is the IPv6 source of number i: the address whose lower half is
// zero, which stands for its /64.
func Source6(i uint32) netip.Addr {
	x := uint64(i) * odd6 & mask6
	x ^= x >> shift6
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], net6|x)
	return netip.AddrFrom16(a)
}
