package loader

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// crowd is a namespace with many sessions of the host's ports, one of each
// source.
type crowd struct {
	*namespace
	listeners map[uint16]int // file descriptors, by port
}

// newCrowd lets every address of 198.18.0.0/15 (RFC 2544) be a client.
func newCrowd(t testing.TB, ports ...uint16) *crowd {
	t.Helper()
	c := &crowd{newNamespace(t), make(map[uint16]int)}
	c.do(t, func() {
		lo := must(netlink.LinkByName("lo"))
		_, clients, err := net.ParseCIDR("198.18.0.0/15")
		mustDo(t, err)
		mustDo(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: clients, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST}))
		for _, p := range ports {
			fd := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			t.Cleanup(func() { _ = unix.Close(fd) })
			mustDo(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: mailHost, Port: int(p)}))
			mustDo(t, unix.Listen(fd, 128))
			c.listeners[p] = fd
		}
	})
	return c
}

// mailHost is where they connect to.
var mailHost = [4]byte{198, 19, 255, 254}

// client returns the n-th client.
func client(n int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 198<<24|18<<16|uint32(n))
	return netip.AddrFrom4(a)
}

// join opens sessions of clients from to to and returns the server's ends. The
// client's are left behind without a word (TCP_REPAIR, tcp(7)): processes may
// hold only so many files.
func (c *crowd) join(t testing.TB, port uint16, from, to int) (servers []int) {
	t.Helper()
	c.do(t, func() {
		for n := from; n < to; n++ {
			fd := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			mustDo(t, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
			mustDo(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: client(n).As4()}))
			mustDo(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: mailHost, Port: int(port)}))
			server, _, err := unix.Accept4(c.listeners[port], unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			mustDo(t, err)
			mustDo(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1))
			mustDo(t, unix.Close(fd))
			servers = append(servers, server)
		}
	})
	return servers
}

// leave ends sessions, and counts those whose socket was destroyed.
func leave(servers []int) (aborted int) {
	for _, fd := range servers {
		if _, err := unix.Read(fd, make([]byte, 1)); err == unix.ECONNABORTED {
			aborted++
		}
		_ = unix.Close(fd)
	}
	return aborted
}

// BenchmarkDestroySockets closes the sessions of newly blocked sources among
// those of others: of one, and of ten thousand at once.
func BenchmarkDestroySockets(b *testing.B) {
	c := newCrowd(b, 25, 587, 993)
	bystanders := append(c.join(b, 587, 0, 4_000), c.join(b, 993, 0, 4_000)...)
	next := 4_000
	close := func(b *testing.B, sources int) {
		for range b.N {
			doomed := c.join(b, 25, next, next+sources)
			prefixes := make([]netip.Prefix, sources)
			for i := range prefixes {
				prefixes[i] = netip.PrefixFrom(client(next+i), 32)
			}
			next += sources
			var took time.Duration
			c.do(b, func() {
				begin := time.Now()
				n, err := DestroySockets(prefixes, []uint16{25, 587})
				took = time.Since(begin)
				if n != sources || err != nil {
					b.Errorf("%d destroyed, %v", n, err)
				}
			})
			if n := leave(doomed); n != sources {
				b.Errorf("%d of %d aborted", n, sources)
			}
			b.ReportMetric(float64(took.Microseconds())/1000, "ms")
		}
	}
	b.Run("1_source", func(b *testing.B) { close(b, 1) })
	b.Run("10000_sources", func(b *testing.B) { close(b, 10_000) })
	if n := leave(bystanders); n != 0 {
		b.Errorf("%d sessions of others aborted", n)
	}
}

// However the kernel is asked, the same sockets are destroyed: few sources and
// ports, which it is told, and many.
func TestDestroySocketsAmongMany(t *testing.T) {
	c := newCrowd(t, 25, 587, 993)
	const each = 2 * maxPeers
	manyPorts := []uint16{25, 587}
	for p := range uint16(maxPorts) {
		manyPorts = append(manyPorts, 2000+p)
	}
	for _, test := range []struct {
		name    string
		sources int
		ports   []uint16
	}{
		{"one source", 1, []uint16{587}},
		{"few sources", maxPeers, []uint16{25, 587}},
		{"many sources", maxPeers + 1, []uint16{25, 587}},
		{"many ports", 1, manyPorts},
	} {
		t.Run(test.name, func(t *testing.T) {
			sessions := map[uint16][]int{}
			for port := range c.listeners {
				sessions[port] = c.join(t, port, 0, each)
			}
			var prefixes []netip.Prefix
			for n := range test.sources {
				prefixes = append(prefixes, netip.PrefixFrom(client(n), 32))
			}
			want := 0
			var n int
			var err error
			c.do(t, func() { n, err = DestroySockets(prefixes, test.ports) })
			for port, all := range sessions {
				doomed := 0
				if slices.Contains(test.ports, port) {
					doomed = test.sources
				}
				want += doomed
				if got := leave(all[:doomed]); got != doomed {
					t.Errorf("port %d: %d of %d aborted", port, got, doomed)
				}
				if got := leave(all[doomed:]); got != 0 {
					t.Errorf("port %d: %d sessions of others aborted", port, got)
				}
			}
			if n != want || err != nil {
				t.Errorf("%d destroyed, %v; want %d", n, err, want)
			}
		})
	}
}
