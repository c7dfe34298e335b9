package loader

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// xdpRedirect is the program's answer when it sends the frame elsewhere.
const xdpRedirect = 4

// testInterface is what BPF_PROG_TEST_RUN says frames come in by: the loopback.
const testInterface = 1

// ask gives the program a frame and returns what it made of it.
func ask(t testing.TB, d *Datapath, frame []byte) (verdict uint32, out []byte) {
	t.Helper()
	out = make([]byte, len(frame)+64)
	o := &ebpf.RunOptions{Data: frame, DataOut: out}
	verdict, err := d.objects.WeirXdp.Run(o)
	mustDo(t, err)
	return verdict, o.DataOut
}

// segment is a TCP packet as a test reads and writes it.
type segment struct {
	from, to netip.AddrPort
	seq, ack uint32
	flags    byte
	window   uint16
	payload  int
}

// frame writes s with correct checksums, behind VLAN tags.
func (s *segment) frame(tags ...uint16) []byte {
	h := tcp{port: s.to.Port(), flags: s.flags, payload: s.payload}.bytes()
	binary.BigEndian.PutUint16(h[0:], s.from.Port())
	binary.BigEndian.PutUint32(h[4:], s.seq)
	binary.BigEndian.PutUint32(h[8:], s.ack)
	var f []byte
	if s.from.Addr().Is4() {
		f = ip4{src: s.from.Addr().String()}.wrap(h)
	} else {
		f = ip6{src: s.from.Addr().String()}.wrap(h)
	}
	if len(tags) > 0 {
		f = tagged(f, tags...)
	}
	return f
}

// checksum adds up 16-bit words (RFC 1071); 0xffff means that they are sound.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// readAnswer reads a frame that came back for asked, and reports everything
// that is wrong with it below TCP.
func readAnswer(t testing.TB, asked, frame []byte, tags int) (s segment) {
	t.Helper()
	if !slices.Equal(frame[0:6], asked[6:12]) || !slices.Equal(frame[6:12], asked[0:6]) {
		t.Errorf("MAC addresses: % x", frame[:12])
	}
	l3 := 14 + 4*tags
	if !slices.Equal(frame[12:l3], asked[12:l3]) {
		t.Errorf("tags and type: % x, want % x", frame[12:l3], asked[12:l3])
	}
	if want := min(max(60, l3+60), len(asked)); len(frame) > want {
		t.Errorf("frame of %d bytes, want at most %d", len(frame), want)
	}
	ip := frame[l3:]
	var h, pseudo []byte
	var from, to netip.Addr
	if ip[0]>>4 == 4 {
		if checksum(ip[:20]) != 0xffff || ip[0] != 0x45 || binary.BigEndian.Uint16(ip[2:]) != 40 {
			t.Errorf("IPv4 header % x", ip[:20])
		}
		h, pseudo = ip[20:40], ip[12:20]
		from, to = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	} else {
		if binary.BigEndian.Uint16(ip[4:]) != 20 || ip[6] != protoTCP {
			t.Errorf("IPv6 header % x", ip[:40])
		}
		h, pseudo = ip[40:60], ip[8:40]
		from, to = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	}
	if checksum(pseudo, []byte{0, protoTCP, 0, 20}, h) != 0xffff || h[12] != 0x50 {
		t.Errorf("TCP header % x, or its checksum", h)
	}
	return segment{
		from: netip.AddrPortFrom(from, binary.BigEndian.Uint16(h)), to: netip.AddrPortFrom(to, binary.BigEndian.Uint16(h[2:])),
		seq: binary.BigEndian.Uint32(h[4:]), ack: binary.BigEndian.Uint32(h[8:]), flags: h[13], window: binary.BigEndian.Uint16(h[14:]),
	}
}

// tarpitted returns a datapath whose answers may leave.
func tarpitted(t testing.TB, o Options, prefixes ...string) *Datapath {
	t.Helper()
	d := mustOpen(t, o)
	for _, p := range prefixes {
		mustDo(t, d.Put(Entry{Prefix: prefix(p), Action: ActionTarpit}))
	}
	mustDo(t, d.objects.WaysOut.Put(uint32(testInterface), datapathWayOutWAY_FRAME))
	return d
}

// visit opens a connection and returns what the client says next.
func visit(t testing.TB, d *Datapath, s segment, tags ...uint16) segment {
	t.Helper()
	s.flags = flagSYN
	asked := s.frame(tags...)
	verdict, out := ask(t, d, asked)
	if verdict != xdpRedirect {
		t.Fatalf("opening: verdict %d", verdict)
	}
	a := readAnswer(t, asked, out, len(tags))
	if a.from != s.to || a.to != s.from || a.flags != flagSYN|flagACK || a.ack != s.seq+1 || a.window == 0 || a.window > 16 {
		t.Fatalf("answer to %+v: %+v", s, a)
	}
	s.flags, s.seq, s.ack = flagACK, s.seq+1, a.seq+1
	return s
}

func TestTarpitAnswers(t *testing.T) {
	to4, to6 := netip.MustParseAddrPort("192.0.2.25:25"), netip.MustParseAddrPort("[2001:db8::25]:587")
	from4, from6 := netip.MustParseAddrPort("198.51.100.1:40000"), netip.MustParseAddrPort("[2001:db8:1:2::3]:41000")
	for _, entries := range [][]string{{"198.51.100.1/32", "2001:db8:1:2::/64"}, {"198.51.100.0/24", "2001:db8:1::/48"}} {
		d := tarpitted(t, testOptions(t), entries...)
		for _, c := range []struct {
			name string
			from netip.AddrPort
			to   netip.AddrPort
			tags []uint16
		}{
			{"IPv4", from4, to4, nil},
			{"IPv6", from6, to6, nil},
			{"IPv4, 802.1Q", from4, to4, []uint16{etherVLAN}},
			{"IPv6, QinQ", from6, to6, []uint16{etherQinQ, etherVLAN}},
		} {
			t.Run(entries[0]+" "+c.name, func(t *testing.T) {
				for _, first := range []uint32{0, 1, 12345678, 1<<32 - 1, 1<<32 - 3} {
					client := visit(t, d, segment{from: c.from, to: c.to, seq: first}, c.tags...)

					// What it sends into the window, and asks about it, is
					// answered with no window, and never acknowledged.
					for _, change := range []func(*segment){
						func(s *segment) { s.payload = 5 },
						func(s *segment) { s.payload = 1400 },
						func(s *segment) { s.seq += 5; s.payload = 1 },
						func(s *segment) { s.seq-- }, // window probe, keepalive
						func(s *segment) { s.seq--; s.payload = 1 },
					} {
						s := client
						change(&s)
						asked := s.frame(c.tags...)
						verdict, out := ask(t, d, asked)
						if verdict != xdpRedirect {
							t.Fatalf("%+v: verdict %d", s, verdict)
						}
						a := readAnswer(t, asked, out, len(c.tags))
						if a.from != c.to || a.to != c.from || a.flags != flagACK || a.window != 0 || a.ack != first+1 || a.seq != client.ack {
							t.Errorf("answer to %+v: %+v", s, a)
						}
					}
					// The rest is swallowed: an answer to an ACK would be
					// answered in turn.
					for _, change := range []func(*segment){
						func(*segment) {},
						func(s *segment) { s.flags |= flagFIN; s.payload = 6 },
						func(s *segment) { s.flags = flagRST | flagACK },
						func(s *segment) { s.flags = flagRST | flagACK; s.seq-- },
					} {
						s := client
						change(&s)
						wantExit(t, d, s.frame(c.tags...), xdpDrop, "tarpitted")
					}
				}
			})
		}
	}
}

// What is not of a connection that the tarpit holds gets no answer; of a
// prefix, it is none of its business.
func TestTarpitKnowsItsConnections(t *testing.T) {
	from, to := netip.MustParseAddrPort("198.51.100.1:40000"), netip.MustParseAddrPort("192.0.2.25:25")
	for entry, strange := range map[string]struct {
		verdict uint32
		exit    string
	}{"198.51.100.1/32": {xdpDrop, "tarpitted"}, "198.51.100.0/24": {xdpPass, "unflagged"}} {
		d := tarpitted(t, testOptions(t), entry)
		client := visit(t, d, segment{from: from, to: to, seq: 1000})
		for name, change := range map[string]func(*segment){
			"another port":         func(s *segment) { s.from = netip.AddrPortFrom(from.Addr(), 40001) },
			"another server port":  func(s *segment) { s.to = netip.AddrPortFrom(to.Addr(), 587) },
			"beyond the window":    func(s *segment) { s.seq += 7 },
			"before the beginning": func(s *segment) { s.seq -= 2 },
			"another number":       func(s *segment) { s.ack++; s.seq += 8 },
			"SYN and ACK":          func(s *segment) { s.flags |= flagSYN },
			"no ACK":               func(s *segment) { s.flags = flagPSH },
		} {
			s := client
			s.payload = 5
			change(&s)
			verdict, exit := exitOf(t, d, s.frame())
			if verdict != strange.verdict || exit != strange.exit {
				t.Errorf("%s, %s: verdict %d (%s), want %d (%s)", entry, name, verdict, exit, strange.verdict, strange.exit)
			}
		}
		// Nor do others suffer, or what comes when the entry is gone.
		stranger := client
		stranger.from, stranger.payload = netip.MustParseAddrPort("203.0.113.9:40000"), 5
		wantExit(t, d, stranger.frame(), xdpPass, "unflagged")
		mustDo(t, d.Delete(prefix(entry)))
		wantExit(t, d, client.frame(), xdpPass, "unflagged")
	}
}

func TestTarpitSwallowsWhatItCannotAnswer(t *testing.T) {
	d := tarpitted(t, testOptions(t), "198.51.100.1/32", "2001:db8:1:2::/64")
	toMany := syn4("")
	toMany[0] = 0xff
	for name, frame := range map[string][]byte{
		"IPv4 options":           ip4{options: 4}.wrap(tcp{}.bytes()),
		"IPv6 extension headers": ip6{extensions: []extension{{kind: protoDestination}}}.wrap(tcp{}.bytes()),
		"first fragment":         ip4{fragment: moreFragments}.wrap(tcp{}.bytes()),
		"to a group":             toMany,
		"SYN and RST":            ip4{}.wrap(tcp{flags: flagSYN | flagRST}.bytes()),
		"SYN and FIN":            ip6{}.wrap(tcp{flags: flagSYN | flagFIN}.bytes()),
	} {
		t.Run(name, func(t *testing.T) { wantExit(t, d, frame, xdpDrop, "tarpitted") })
	}
	wantExit(t, d, syn4(""), xdpRedirect, "answered")
	mustDo(t, d.objects.WaysOut.Delete(uint32(testInterface)))
	wantExit(t, d, syn4(""), xdpDrop, "tarpitted")
	wantExit(t, d, syn6(""), xdpDrop, "tarpitted")
}

// A new agent, and a new program, know the connections of the one before.
func TestTarpitOutlivesTheProgram(t *testing.T) {
	o := testOptions(t)
	d := tarpitted(t, o, "198.51.100.0/24")
	client := visit(t, d, segment{from: netip.MustParseAddrPort("198.51.100.1:40000"), to: netip.MustParseAddrPort("192.0.2.25:25"), seq: 77})
	mustDo(t, d.Close())
	d = mustOpen(t, o)
	client.payload = 3
	wantExit(t, d, client.frame(), xdpRedirect, "answered")
	// Another host does not.
	d = tarpitted(t, testOptions(t), "198.51.100.0/24")
	wantExit(t, d, client.frame(), xdpPass, "unflagged")
}

// However many connections are held, nothing is kept of them.
func TestTarpitKeepsNothing(t *testing.T) {
	d := tarpitted(t, testOptions(t), "198.51.100.0/24")
	before := must(d.Fill())
	s := segment{to: netip.MustParseAddrPort("192.0.2.25:25"), flags: flagSYN}
	const connections = 100_000
	for n := range connections {
		s.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n >> 16)}), uint16(n))
		s.seq = uint32(n) * 2654435761
		if verdict := run(t, d, s.frame()); verdict != xdpRedirect {
			t.Fatalf("connection %d: verdict %d", n, verdict)
		}
	}
	if after := must(d.Fill()); !slices.Equal(before, after) {
		t.Errorf("tables hold %v, before %v", after, before)
	}
	if e, _, _ := d.Get(prefix("198.51.100.0/24")); e.Attempts != connections {
		t.Errorf("%d openings counted", e.Attempts)
	}
}
