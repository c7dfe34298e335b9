package live

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Traffic says which frames to make: the shortest TCP segments from sources
// drawn at random.
type Traffic struct {
	IPv6    bool
	Port    uint16 // destination
	Opening bool   // SYN; else ACK, as in an open session
	Payload int    // bytes of data, at most 6 over IPv4: no frame is longer

	First, Count uint32 // numbers of the sources
	// Spread is how many of an IPv4 source's lowest bits, or of an IPv6
	// source's network, are replaced by random ones, at most 16.
	Spread int

	// Checksum has TCP's right as well, so that a stack answers (IPv4 alone).
	Checksum bool

	// Elsewhere addresses frames to another host's hardware: what lets them
	// pass hands them to a stack that throws them away at once.
	Elsewhere bool
}

const (
	etherLen = 14
	ip4Len   = 20
	ip6Len   = 40
	tcpLen   = 20
	minFrame = 60 // without checksum (IEEE 802.3, 3.2.8)

	flagSYN = 0x02
	flagACK = 0x10

	sourcePort = 40000
	hopLimit   = 64
	window     = 64000
)

// frame is a frame of the traffic from a source, with the right checksum of
// IPv4. Where that of TCP is not asked for, it is wrong, and nobody answers.
func (t Traffic) frame(from netip.Addr, hardware net.HardwareAddr) []byte {
	to := append(net.HardwareAddr{}, hardware...)
	if t.Elsewhere {
		to[5] ^= 1
	}
	b := append(append(make([]byte, 0, etherLen+ip6Len+tcpLen), to...), 2, 0, 0, 0, 0, 1)
	if t.IPv6 {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
		b = append(b, 0x60, 0, 0, 0, 0, byte(tcpLen+t.Payload), unix.IPPROTO_TCP, hopLimit)
		b = append(append(b, from.AsSlice()...), host6.AsSlice()...)
	} else {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
		ip := []byte{0x45, 0, 0, byte(ip4Len + tcpLen + t.Payload), 0, 0, 0x40, 0, hopLimit, unix.IPPROTO_TCP, 0, 0}
		ip = append(append(ip, from.AsSlice()...), host4.AsSlice()...)
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip)))
		b = append(b, ip...)
	}
	tcp := make([]byte, tcpLen)
	binary.BigEndian.PutUint16(tcp[0:], sourcePort)
	binary.BigEndian.PutUint16(tcp[2:], t.Port)
	tcp[12], tcp[13] = tcpLen/4<<4, flagACK
	if t.Opening {
		tcp[13] = flagSYN
	}
	binary.BigEndian.PutUint16(tcp[14:], window)
	if t.Checksum && !t.IPv6 {
		// RFC 9293, section 3.1: of the addresses, the protocol and the length too.
		pseudo := append(append(from.AsSlice(), host4.AsSlice()...), 0, unix.IPPROTO_TCP, 0, tcpLen)
		binary.BigEndian.PutUint16(tcp[16:], ^fold(sum(append(pseudo, tcp...))))
	}
	b = append(b, tcp...)
	for len(b) < minFrame || len(b)%4 != 0 { // the generator writes words
		b = append(b, 0)
	}
	return b
}

// Frame is one frame of the traffic on this link, from source number i.
func (l *Link) Frame(t Traffic, i uint32) []byte {
	if t.IPv6 {
		return t.frame(Source6(i), l.hardware)
	}
	return t.frame(Source4(i), l.hardware)
}

// sum adds up 16-bit words, fold makes them the Internet checksum's (RFC 1071).
func sum(b []byte) (s uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

func fold(s uint32) uint16 {
	s = s&0xffff + s>>16
	return uint16(s + s>>16)
}
