package loader

import (
	"fmt"
	"testing"
)

// dropped returns a datapath that drops the sources that frames have when
// they do not name one, whatever the port, so that every frame that is
// understood shows.
func dropped(t testing.TB) *Datapath {
	t.Helper()
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(
		Entry{Prefix: prefix("198.51.100.1/32"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8:1:2::/64"), Action: ActionDrop},
	))
	return d
}

// frameShape is a frame, and the exit by which it leaves a datapath that is as
// dropped makes it.
type frameShape struct {
	name  string
	frame []byte
	want  string
}

func shapes() []frameShape {
	plain4, plain6 := ip4{}.wrap(tcp{}.bytes()), ip6{}.wrap(tcp{}.bytes())
	chain := []extension{{kind: protoHopByHop}, {kind: protoDestination}, {kind: protoRouting, length: 2}, {kind: protoFragment}, {kind: protoAH, length: 4}, {kind: protoDestination, length: 1}}
	through := func(e ...extension) []byte { return ip6{extensions: e}.wrap(tcp{}.bytes()) }

	return []frameShape{
		{"IPv4", plain4, "dropped"},
		{"IPv6", plain6, "dropped"},
		{"not an opening", data4(""), "dropped"},
		{"not an opening, IPv6", data6(""), "dropped"},
		{"SYN with ACK", ip4{}.wrap(tcp{flags: flagSYN | flagACK}.bytes()), "dropped"},
		{"RST", ip4{}.wrap(tcp{flags: flagRST}.bytes()), "dropped"},
		{"TCP options and payload", ip4{}.wrap(tcp{words: 15, payload: 1400}.bytes()), "dropped"},
		{"another source", syn4("198.51.100.2"), "unflagged"},
		{"another /64", syn6("2001:db8:1:3::3"), "unflagged"},
		{"same /64", syn6("2001:db8:1:2:ffff:ffff:ffff:ffff"), "dropped"},

		{"other port", ip4{}.wrap(tcp{port: 80}.bytes()), "other_port"},
		{"other port, IPv6", ip6{}.wrap(tcp{port: 443}.bytes()), "other_port"},
		{"port 465", ip4{}.wrap(tcp{port: 465}.bytes()), "dropped"},
		{"port 587", ip6{}.wrap(tcp{port: 587}.bytes()), "dropped"},
		{"port 26", ip4{}.wrap(tcp{port: 26}.bytes()), "other_port"},
		{"port 65535", ip4{}.wrap(tcp{port: 65535}.bytes()), "other_port"},

		{"802.1Q", tagged(plain4, etherVLAN), "dropped"},
		{"802.1Q, IPv6", tagged(plain6, etherVLAN), "dropped"},
		{"802.1ad", tagged(plain4, etherQinQ), "dropped"},
		{"QinQ", tagged(plain4, etherQinQ, etherVLAN), "dropped"},
		{"QinQ, IPv6", tagged(plain6, etherQinQ, etherVLAN), "dropped"},
		{"two 802.1Q", tagged(plain4, etherVLAN, etherVLAN), "dropped"},
		{"three tags", tagged(plain4, etherQinQ, etherVLAN, etherVLAN), "not_ip"},
		{"tagged ARP", tagged(eth(etherARP, make([]byte, 46)), etherVLAN), "not_ip"},
		{"ARP", eth(etherARP, make([]byte, 46)), "not_ip"},
		{"802.3 length", eth(60, make([]byte, 60)), "not_ip"},

		{"IPv4 options", ip4{options: 4}.wrap(tcp{}.bytes()), "dropped"},
		{"most IPv4 options", ip4{options: 40}.wrap(tcp{}.bytes()), "dropped"},
		{"padded to 60 bytes", append(append([]byte(nil), plain4...), make([]byte, 6)...), "dropped"},
		{"do not fragment", ip4{fragment: dontFragment}.wrap(tcp{}.bytes()), "dropped"},
		{"first fragment", ip4{fragment: moreFragments}.wrap(tcp{}.bytes()), "dropped"},
		{"second fragment", ip4{fragment: moreFragments | 1}.wrap(tcp{}.bytes()), "fragment"},
		{"last fragment", ip4{fragment: 0x1fff}.wrap(tcp{}.bytes()), "fragment"},
		{"first fragment without flags", ip4{fragment: moreFragments}.wrap(tcp{}.bytes()[:8]), "dropped"},
		{"first fragment without flags, other port", ip4{fragment: moreFragments}.wrap(tcp{port: 80}.bytes()[:8]), "other_port"},
		{"first fragment without ports", ip4{fragment: moreFragments}.wrap(nil), "malformed"},
		{"UDP", ip4{proto: protoUDP}.wrap(tcp{}.bytes()), "not_tcp"},
		{"ICMP", ip4{proto: protoICMP}.wrap(make([]byte, 8)), "not_tcp"},

		{"IPv4 with version 6", ip4{version: 6}.wrap(tcp{}.bytes()), "malformed"},
		{"header length 4", ip4{ihl: 4}.wrap(tcp{}.bytes()), "malformed"},
		{"header length beyond packet", ip4{ihl: 15}.wrap(tcp{}.bytes()), "malformed"},
		{"total length 0", ip4{total: -1}.wrap(tcp{}.bytes()), "malformed"},
		{"total length below header", ip4{total: 19}.wrap(tcp{}.bytes()), "malformed"},
		{"total length ends in TCP header", ip4{total: 39}.wrap(tcp{}.bytes()), "malformed"},
		{"total length ends at header, padding looks like TCP", ip4{total: 20}.wrap(tcp{}.bytes()), "malformed"},
		{"total length beyond frame", ip4{total: 1500}.wrap(tcp{}.bytes()), "dropped"},
		{"TCP header length 4", ip4{}.wrap(tcp{words: 4}.bytes()), "malformed"},

		{"IPv6 with version 4", ip6{version: 4}.wrap(tcp{}.bytes()), "malformed"},
		{"payload length 0, padding looks like TCP", ip6{length: -1}.wrap(tcp{}.bytes()), "malformed"},
		{"payload length ends in TCP header", ip6{length: 19}.wrap(tcp{}.bytes()), "malformed"},
		{"payload length beyond frame", ip6{length: 1400}.wrap(tcp{}.bytes()), "dropped"},
		{"UDP, IPv6", ip6{proto: protoUDP}.wrap(tcp{}.bytes()), "not_tcp"},
		{"no next header", ip6{proto: protoNone}.wrap(nil), "not_tcp"},
		{"ESP", ip6{proto: protoESP}.wrap(make([]byte, 40)), "not_tcp"},

		{"hop-by-hop", through(extension{kind: protoHopByHop}), "dropped"},
		{"long hop-by-hop", through(extension{kind: protoHopByHop, length: 255}), "dropped"},
		{"routing", through(extension{kind: protoRouting, length: 4}), "dropped"},
		{"destination options", through(extension{kind: protoDestination}), "dropped"},
		{"AH", through(extension{kind: protoAH, length: 4}), "dropped"},
		{"atomic fragment", through(extension{kind: protoFragment}), "dropped"},
		{"first fragment, IPv6", through(extension{kind: protoFragment, offset: 1}), "dropped"},
		{"later fragment, IPv6", through(extension{kind: protoFragment, offset: 8}), "fragment"},
		{"last possible fragment, IPv6", through(extension{kind: protoFragment, offset: 0xfff8}), "fragment"},
		{"six headers", through(chain...), "dropped"},
		{"seven headers", through(append(chain, extension{kind: protoDestination})...), "deep_headers"},
		{"header beyond payload", ip6{length: 20, extensions: []extension{{kind: protoDestination, length: 3}}}.wrap(tcp{}.bytes()), "malformed"},
		{"header beyond frame", ip6{length: 1400, extensions: []extension{{kind: protoDestination, length: 3}}}.wrap(nil)[:70], "malformed"},
		{"headers, QinQ", tagged(through(chain...), etherQinQ, etherVLAN), "dropped"},
	}
}

func TestPacketShapes(t *testing.T) {
	d := dropped(t)
	for _, c := range shapes() {
		t.Run(c.name, func(t *testing.T) {
			verdict := uint32(xdpPass)
			if c.want == "dropped" {
				verdict = xdpDrop
			}
			wantExit(t, d, c.frame, verdict, c.want)
		})
	}
}

// Wherever a frame is cut, the program passes it as malformed until the TCP
// header is whole. The kernel delivers no frame below 14 bytes, so that is
// where the cuts begin.
func TestTruncation(t *testing.T) {
	d := dropped(t)
	body := tcp{payload: 10}.bytes()
	for name, frame := range map[string][]byte{
		"IPv4":            ip4{}.wrap(body),
		"IPv4 options":    ip4{options: 12}.wrap(body),
		"QinQ":            tagged(ip4{}.wrap(body), etherQinQ, etherVLAN),
		"IPv6":            ip6{}.wrap(body),
		"IPv6 headers":    ip6{extensions: []extension{{kind: protoHopByHop}, {kind: protoRouting, length: 2}, {kind: protoFragment}, {kind: protoAH, length: 4}}}.wrap(body),
		"IPv6 first part": tagged(ip6{extensions: []extension{{kind: protoFragment, offset: 1}}}.wrap(body), etherVLAN),
	} {
		headers := len(frame) - 10
		for size := 14; size <= len(frame); size++ {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				switch {
				case size >= headers:
					wantExit(t, d, frame[:size], xdpDrop, "dropped")
				case name == "IPv6 first part" && size >= headers-16:
					// The ports are there; the rest could be in the next fragment.
					wantExit(t, d, frame[:size], xdpDrop, "dropped")
				default:
					wantExit(t, d, frame[:size], xdpPass, "malformed")
				}
			})
		}
	}
}
