package loader

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

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
