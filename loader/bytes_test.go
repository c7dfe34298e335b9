package loader

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dataOf is a segment with so many bytes of data.
func dataOf(family, payload int) []byte {
	h := tcp{flags: flagACK | flagPSH, payload: payload}.bytes()
	if family == 4 {
		return ip4{src: "192.0.2.7"}.wrap(h)
	}
	return ip6{src: "2001:db8:7::1"}.wrap(h)
}

func TestLimitAcceptsItsBytes(t *testing.T) {
	for _, c := range []struct {
		rate    int64
		segment int     // bytes of data
		offered float64 // times the rate
	}{
		{32 << 10, 1448, 1.5},
		{32 << 10, 1448, 40},
		{32 << 10, 60_000, 3}, // segments that GRO has joined, larger than the burst
		{256 << 10, 536, 3},
		{4 << 20, 60_000, 2},
		{1 << 30, 60_000, 2},
		{MinBytes, 1448, 5},
	} {
		t.Run(fmt.Sprintf("%d in %d", c.rate, c.segment), func(t *testing.T) {
			for _, entry := range []Entry{
				{Prefix: prefix("192.0.2.7/32")}, {Prefix: prefix("2001:db8:7::/64")},
				{Prefix: prefix("192.0.2.0/24")}, {Prefix: prefix("2001:db8::/32")},
			} {
				s := mustSimulate(t, testOptions(t))
				entry.Action, entry.Bytes = ActionLimit, c.rate
				mustDo(t, s.Put(entry))
				family := 6
				if entry.Prefix.Addr().Is4() {
					family = 4
				}
				frame := dataOf(family, c.segment)
				every := time.Duration(float64(c.segment) / c.offered / float64(c.rate) * float64(time.Second))
				begin, accepted := s.now, 0
				const sent = 4000
				for range sent {
					s.advance(every)
					if run(t, s.Datapath, frame) == xdpPass {
						accepted += c.segment
					}
				}
				span := time.Duration(s.now - begin).Seconds()
				most := float64(c.rate)*span + max(float64(c.rate)/4, leastBurst) + float64(c.segment)
				if got := float64(accepted); got > most || got < 0.98*float64(c.rate)*span {
					t.Errorf("%s: %.0f bytes a second, want %d (at most %.0f)", entry.Prefix, got/span, c.rate, most/span)
				}
				e, _, err := s.Get(entry.Prefix)
				if want := uint64(sent - accepted/c.segment); err != nil || e.Dropped != want || e.Bytes != c.rate || e.Every != 0 {
					t.Errorf("%s: %+v, %v; want %d dropped", entry.Prefix, e, err, want)
				}
			}
		})
	}
}

// Both rates of a limit, and what neither is about.
func TestLimitOfOpeningsAndBytes(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	limit := Entry{Prefix: prefix("192.0.2.7/32"), Action: ActionLimit, Every: time.Hour, Burst: 1, Bytes: 32 << 10}
	mustDo(t, s.Put(limit))
	full := dataOf(4, 60_000)
	for _, step := range []struct {
		name    string
		frame   []byte
		verdict uint32
		exit    string
	}{
		{"an opening", syn4("192.0.2.7"), xdpPass, "within_limit"},
		{"one too many", syn4("192.0.2.7"), xdpDrop, "over_limit"},
		{"more than the burst at once", full, xdpPass, "within_limit"},
		{"what comes after it", dataOf(4, 1), xdpDrop, "over_bytes"},
		{"an ACK", dataOf(4, 0), xdpPass, "within_limit"},
		{"FIN", ip4{src: "192.0.2.7"}.wrap(tcp{flags: flagFIN | flagACK}.bytes()), xdpPass, "within_limit"},
		{"TCP options are no data", ip4{src: "192.0.2.7"}.wrap(tcp{flags: flagACK, words: 15}.bytes()), xdpPass, "within_limit"},
		{"another source", data4("192.0.2.8"), xdpPass, "unflagged"},
		{"another port", ip4{src: "192.0.2.7"}.wrap(tcp{flags: flagACK, port: 80, payload: 100}.bytes()), xdpPass, "other_port"},
	} {
		t.Run(step.name, func(t *testing.T) { wantExit(t, s.Datapath, step.frame, step.verdict, step.exit) })
	}
	// The debt goes on when the end changes, not when the rate does.
	limit.Expires = s.wall().Add(time.Hour)
	mustDo(t, s.Put(limit))
	wantExit(t, s.Datapath, dataOf(4, 1), xdpDrop, "over_bytes")
	s.advance(2 * time.Second)
	wantExit(t, s.Datapath, dataOf(4, 1), xdpPass, "within_limit")
	wantExit(t, s.Datapath, full, xdpPass, "within_limit")
	limit.Bytes *= 2
	mustDo(t, s.Put(limit))
	wantExit(t, s.Datapath, dataOf(4, 1), xdpPass, "within_limit")
	limit.Bytes = 0
	mustDo(t, s.Put(limit))
	for range 5 {
		wantExit(t, s.Datapath, full, xdpPass, "within_limit")
	}
}

func TestBytesOfPrefixSpareOthers(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(
		Entry{Prefix: prefix("192.0.2.0/24"), Action: ActionLimit, Bytes: MinBytes},
		Entry{Prefix: prefix("192.0.2.128/25"), Action: ActionDrop},
		Entry{Prefix: prefix("192.0.2.9/32"), Action: ActionAllow},
	))
	big := func(src string) []byte { return ip4{src: src}.wrap(tcp{flags: flagACK, payload: 60_000}.bytes()) }
	wantExit(t, d, big("192.0.2.1"), xdpPass, "within_limit")
	wantExit(t, d, big("192.0.2.2"), xdpDrop, "over_bytes")
	wantExit(t, d, data4("192.0.2.2"), xdpPass, "unflagged") // it has no data
	wantExit(t, d, big("192.0.2.9"), xdpPass, "allowed")
	wantExit(t, d, big("192.0.2.200"), xdpPass, "unflagged") // a wider drop concerns openings
	wantExit(t, d, big("192.0.3.1"), xdpPass, "unflagged")
}

// upload is a client that sends bytes through its limit, over some connections
// at once.
type upload struct {
	client, server netip.AddrPort
	rate           int64 // bytes a second
	connections    int
	size           int
}

// run returns how long it took until the server had everything.
func (u *upload) run(t testing.TB, host, far *namespace) time.Duration {
	// The default may be one that does not mind losses.
	cubic := func(_, _ string, c syscall.RawConn) error {
		var err error
		failure := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
		})
		return errors.Join(err, failure)
	}
	var l net.Listener
	host.do(t, func() { l = must(net.Listen("tcp", u.server.String())) })
	defer l.Close()
	deadline := time.Now().Add(time.Minute)
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(u.client), Control: cubic, Deadline: deadline}
	part := u.size / u.connections
	var wg sync.WaitGroup
	begin := time.Now()
	for range u.connections {
		wg.Go(func() {
			var c net.Conn
			var err error
			far.do(t, func() { c, err = dialer.Dial("tcp", u.server.String()) })
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(deadline)
			if _, err := c.Write(make([]byte, part)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(deadline)
			if n, err := io.Copy(io.Discard, c); err != nil || n != int64(part) {
				t.Errorf("the server got %d of %d bytes: %v", n, part, err)
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// Real uploads through limited sources settle at their rates, and end. All of
// them go on at once, as each takes its time.
func TestUploadsSettleAtTheirRate(t *testing.T) {
	if os.Getenv("WEIR_GUEST") != "" {
		t.Skip("SKIPPED: under emulation, time stands still now and then")
	}
	const seconds = 10
	for _, mode := range []string{ModeNative, ModeGeneric} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			host, far := newNamespace(t), newNamespace(t)
			veth(t, host, "eth0", far, "far0")
			servers := []netip.Prefix{prefix("192.0.2.25/24"), prefix("2001:db8::25/32")}
			o := testOptions(t)
			var uploads []upload
			for _, server := range servers {
				host.address(t, "eth0", server.String())
				for _, rate := range []int64{32 << 10, 256 << 10, 1 << 20} {
					for _, connections := range []int{1, 4} {
						n := byte(len(uploads))
						a := server.Addr().AsSlice()
						if server.Addr().Is4() {
							a[3] = 100 + n
						} else {
							a[7] = n // a /64 of its own
						}
						client, _ := netip.AddrFromSlice(a)
						far.address(t, "far0", netip.PrefixFrom(client, server.Bits()).String())
						uploads = append(uploads, upload{
							client: netip.AddrPortFrom(client, 0), server: netip.AddrPortFrom(server.Addr(), 2500+uint16(n)),
							rate: rate, connections: connections, size: seconds * int(rate),
						})
						o.Ports = append(o.Ports, 2500+uint16(n))
					}
				}
			}
			d := mustOpen(t, o)
			for _, u := range uploads {
				p := must(u.client.Addr().Prefix(min(u.client.Addr().BitLen(), sourceBits6)))
				mustDo(t, d.Put(Entry{Prefix: p, Action: ActionLimit, Bytes: u.rate}))
			}
			attachAs(t, d, host, "eth0", mode)
			var wg sync.WaitGroup
			for _, u := range uploads {
				wg.Go(func() {
					took := u.run(t, host, far)
					share := float64(u.size) / took.Seconds() / float64(u.rate)
					told := fmt.Sprintf("%s at %4d KiB/s over %d connections: %.2f of the rate, in %.1f s", u.client.Addr(), u.rate>>10, u.connections, share, took.Seconds())
					if t.Log(told); share < 0.7 || share > 1.05 {
						t.Errorf("%s; want 0.7 to 1.05", told)
					}
				})
			}
			wg.Wait()
		})
	}
}
