package loader

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Frames for the program, from the inside out: eth(ip4{…}.wrap(tcp{…}.bytes())).

const (
	protoHopByHop    = 0
	protoICMP        = 1
	protoTCP         = 6
	protoUDP         = 17
	protoRouting     = 43
	protoFragment    = 44
	protoESP         = 50
	protoAH          = 51
	protoNone        = 59
	protoDestination = 60

	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd
	etherQinQ = 0x88a8

	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagPSH = 0x08
	flagACK = 0x10

	moreFragments = 0x2000
	dontFragment  = 0x4000
)

type tcp struct {
	port    uint16 // destination; 0: 25
	flags   byte   // 0: SYN
	words   byte   // header length in words; 0: 5
	payload int
}

func (h tcp) bytes() []byte {
	if h.port == 0 {
		h.port = 25
	}
	if h.flags == 0 {
		h.flags = flagSYN
	}
	if h.words == 0 {
		h.words = 5
	}
	b := make([]byte, max(20, 4*int(h.words))+h.payload)
	binary.BigEndian.PutUint16(b[0:], 40000)
	binary.BigEndian.PutUint16(b[2:], h.port)
	b[12] = h.words << 4
	b[13] = h.flags
	binary.BigEndian.PutUint16(b[14:], 65535)
	return b
}

type ip4 struct {
	src      string // "": 198.51.100.1
	proto    byte   // 0: TCP
	options  int    // bytes, a multiple of 4
	fragment uint16 // flags and offset in units of 8
	version  byte   // 0: 4
	ihl      byte   // 0: what options need
	total    int    // -1: 0; 0: what there is
}

func (h ip4) wrap(payload []byte) []byte {
	if h.src == "" {
		h.src = "198.51.100.1"
	}
	if h.proto == 0 {
		h.proto = protoTCP
	}
	if h.version == 0 {
		h.version = 4
	}
	if h.ihl == 0 {
		h.ihl = byte(5 + h.options/4)
	}
	b := make([]byte, 20+h.options, 20+h.options+len(payload))
	switch h.total {
	case 0:
		h.total = cap(b)
	case -1:
		h.total = 0
	}
	b[0] = h.version<<4 | h.ihl
	binary.BigEndian.PutUint16(b[2:], uint16(h.total))
	binary.BigEndian.PutUint16(b[6:], h.fragment)
	b[8], b[9] = 64, h.proto
	src := netip.MustParseAddr(h.src).As4()
	copy(b[12:], src[:])
	copy(b[16:], []byte{192, 0, 2, 25})
	for i := range h.options {
		b[20+i] = 1 // no operation
	}
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return eth(etherIPv4, append(b, payload...))
}

// extension is an IPv6 header between the fixed one and TCP.
type extension struct {
	kind   byte
	length byte   // as it stands in the header: units of 8 (AH: 4) beyond the first
	offset uint16 // fragment: as it stands in the header, in units of 8 << 3 with the M bit
}

func (e extension) bytes(next byte) []byte {
	switch e.kind {
	case protoFragment:
		b := make([]byte, 8)
		b[0] = next
		binary.BigEndian.PutUint16(b[2:], e.offset)
		return b
	case protoAH:
		b := make([]byte, (int(e.length)+2)*4)
		b[0], b[1] = next, e.length
		return b
	}
	b := make([]byte, (int(e.length)+1)*8)
	b[0], b[1] = next, e.length
	return b
}

type ip6 struct {
	src        string // "": 2001:db8:1:2::3
	proto      byte   // after the extensions; 0: TCP
	extensions []extension
	version    byte // 0: 6
	length     int  // payload length; -1: 0; 0: what there is
}

func (h ip6) wrap(payload []byte) []byte {
	if h.src == "" {
		h.src = "2001:db8:1:2::3"
	}
	if h.proto == 0 {
		h.proto = protoTCP
	}
	if h.version == 0 {
		h.version = 6
	}
	next := h.proto
	for i := len(h.extensions) - 1; i >= 0; i-- {
		payload = append(h.extensions[i].bytes(next), payload...)
		next = h.extensions[i].kind
	}
	switch h.length {
	case 0:
		h.length = len(payload)
	case -1:
		h.length = 0
	}
	b := make([]byte, 40, 40+len(payload))
	b[0] = h.version << 4
	binary.BigEndian.PutUint16(b[4:], uint16(h.length))
	b[6], b[7] = next, 64
	src := netip.MustParseAddr(h.src).As16()
	copy(b[8:], src[:])
	dst := netip.MustParseAddr("2001:db8::25").As16()
	copy(b[24:], dst[:])
	return eth(etherIPv6, append(b, payload...))
}

// frameTarget is the link layer address that frames go to.
var frameTarget = net.HardwareAddr{2, 0, 0, 0, 0, 1}

func eth(proto uint16, payload []byte) []byte {
	b := make([]byte, 14, 14+len(payload))
	copy(b, frameTarget)
	copy(b[6:], []byte{2, 0, 0, 0, 0, 2})
	binary.BigEndian.PutUint16(b[12:], proto)
	return append(b, payload...)
}

// tagged puts VLAN tags into a frame, the outermost first.
func tagged(frame []byte, tags ...uint16) []byte {
	b := append([]byte(nil), frame[:12]...)
	for i, tag := range tags {
		b = binary.BigEndian.AppendUint16(b, tag)
		b = binary.BigEndian.AppendUint16(b, uint16(100+i))
	}
	return append(b, frame[12:]...)
}

// syn4 and syn6 are connection openings to port 25, data4 and data6 packets
// of a connection.
func syn4(src string) []byte  { return ip4{src: src}.wrap(tcp{}.bytes()) }
func data4(src string) []byte { return ip4{src: src}.wrap(tcp{flags: flagACK | flagPSH}.bytes()) }
func syn6(src string) []byte  { return ip6{src: src}.wrap(tcp{}.bytes()) }
func data6(src string) []byte { return ip6{src: src}.wrap(tcp{flags: flagACK | flagPSH}.bytes()) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
