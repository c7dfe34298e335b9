package lab

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// TCP flags (RFC 9293 section 3.1).
const (
	flagSYN = 0x02
	flagACK = 0x10
)

const (
	etherLen = 14
	ip4Len   = 20
	ip6Len   = 40
	tcpLen   = 20
)

// synFrame builds an Ethernet frame with a TCP SYN. ether holds the
// destination and source hardware addresses.
func synFrame(ether []byte, from, to netip.AddrPort) []byte {
	b := append(make([]byte, 0, 128), ether...)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	if from.Addr().Is4() {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
		ip := []byte{0x45, 0, 0, ip4Len + tcpLen, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0}
		ip = append(append(ip, src...), dst...)
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		b = append(b, ip...)
	} else {
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
		b = append(b, 0x60, 0, 0, 0, 0, tcpLen, unix.IPPROTO_TCP, 64)
		b = append(append(b, src...), dst...)
	}
	tcp := make([]byte, tcpLen)
	binary.BigEndian.PutUint16(tcp[0:], from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	tcp[12], tcp[13] = tcpLen/4<<4, flagSYN
	binary.BigEndian.PutUint16(tcp[14:], 64000)
	// The pseudo header: addresses, length, protocol (RFC 9293 section 3.1,
	// RFC 8200 section 8.1).
	pseudo := append(append([]byte{}, src...), dst...)
	pseudo = append(pseudo, 0, tcpLen, 0, unix.IPPROTO_TCP)
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
	return append(b, tcp...)
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// segment takes a frame apart; tcp is empty if it is no plain TCP.
func segment(frame []byte) (src, dst netip.Addr, tcp []byte) {
	if len(frame) < etherLen {
		return
	}
	ip := frame[etherLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		if len(ip) >= ip4Len && ip[9] == unix.IPPROTO_TCP && len(ip) >= int(ip[0]&0x0f)*4 {
			return netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[int(ip[0]&0x0f)*4:]
		}
	case unix.ETH_P_IPV6:
		if len(ip) >= ip6Len && ip[6] == unix.IPPROTO_TCP {
			return netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), ip[ip6Len:]
		}
	}
	return
}
