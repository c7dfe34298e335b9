package loader

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// session is one TCP connection with both its ends.
type session struct {
	name         string
	local, peer  string // addresses, of the server and the client
	port         uint16
	server, dial net.Conn
}

func (s *session) open(t testing.TB, listener string) {
	t.Helper()
	l := must(net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(listener))))
	defer l.Close()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.peer)}, Timeout: 5 * time.Second}
	target := netip.AddrPortFrom(netip.MustParseAddr(s.local), s.port).String()
	// The kernel makes IPv6 routes of new addresses in its own time, and
	// takes them away once more when the interface is found to be up.
	eventually(t, target+" reachable", func() (reached bool) {
		var err error
		if s.dial, err = dialer.Dial("tcp", target); err != nil && !errors.Is(err, unix.ENETUNREACH) {
			t.Fatal(err)
		}
		return err == nil
	})
	s.server = must(l.Accept())
	t.Cleanup(func() { _, _ = s.dial.Close(), s.server.Close() })
}

// alive sends one byte each way.
func (s *session) alive() bool {
	deadline := time.Now().Add(5 * time.Second)
	for _, ends := range [][2]net.Conn{{s.server, s.dial}, {s.dial, s.server}} {
		_ = ends[1].SetReadDeadline(deadline)
		if _, err := ends[0].Write([]byte{'.'}); err != nil {
			return false
		}
		if _, err := io.ReadFull(ends[1], make([]byte, 1)); err != nil {
			return false
		}
	}
	return true
}

func TestDestroySockets(t *testing.T) {
	ns := newNamespace(t)
	for _, a := range []string{"192.0.2.25/32", "192.0.2.1/32", "192.0.2.2/32", "198.51.100.7/32", "2001:db8::25/128", "2001:db8:1:2::3/128", "2001:db8:1:3::3/128"} {
		ns.address(t, "lo", a)
	}
	ns.do(t, func() {
		doomed := []*session{
			{name: "IPv4", local: "192.0.2.25", peer: "192.0.2.1", port: 25},
			{name: "another port", local: "192.0.2.25", peer: "192.0.2.1", port: 587},
			{name: "a wider prefix", local: "192.0.2.25", peer: "198.51.100.7", port: 25},
			{name: "IPv6", local: "2001:db8::25", peer: "2001:db8:1:2::3", port: 25},
		}
		mapped := &session{name: "dual-stack listener", local: "192.0.2.25", peer: "192.0.2.1", port: 465}
		spared := []*session{
			{name: "unprotected port", local: "192.0.2.25", peer: "192.0.2.1", port: 22},
			{name: "other peer", local: "192.0.2.25", peer: "192.0.2.2", port: 25},
			{name: "other peer, IPv6", local: "2001:db8::25", peer: "2001:db8:1:3::3", port: 25},
		}
		// Ours to the same host's port 25: the protected port is not here.
		outgoing := &session{name: "outgoing", local: "192.0.2.1", peer: "192.0.2.25", port: 25}
		for _, s := range append(append(doomed, spared...), outgoing) {
			s.open(t, netip.AddrPortFrom(netip.MustParseAddr(s.local), s.port).String())
		}
		mapped.open(t, "[::]:465")
		doomed = append(doomed, mapped)
		for _, s := range append(append(doomed, spared...), outgoing) {
			if !s.alive() {
				t.Fatalf("%s: not alive before", s.name)
			}
		}

		prefixes := []netip.Prefix{prefix("192.0.2.1/32"), prefix("198.51.100.0/24"), prefix("2001:db8:1:2::/64")}
		n, err := DestroySockets(prefixes, []uint16{25, 465, 587})
		if err != nil || n != len(doomed) {
			t.Errorf("destroyed %d (%v), want %d", n, err, len(doomed))
		}
		for _, s := range doomed {
			_ = s.server.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err := s.server.Read(make([]byte, 1))
			if !errors.Is(err, unix.ECONNABORTED) && !errors.Is(err, syscall.ECONNABORTED) {
				t.Errorf("%s: server reads %v, want connection aborted", s.name, err)
			}
			_ = s.dial.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := s.dial.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("%s: client reads %v, want connection reset", s.name, err)
			}
		}
		for _, s := range append(spared, outgoing) {
			if !s.alive() {
				t.Errorf("%s: destroyed, it should not have been", s.name)
			}
		}
		if n, err := DestroySockets(prefixes, []uint16{25, 465, 587}); n != 0 || err != nil {
			t.Errorf("destroyed %d more (%v)", n, err)
		}
		if n, err := DestroySockets(nil, []uint16{22}); n != 0 || err != nil {
			t.Errorf("destroyed %d of no prefix (%v)", n, err)
		}
	})
}

func TestDestroySocketsUnprivileged(t *testing.T) {
	ns := newNamespace(t)
	ns.do(t, func() {
		s := &session{local: "127.0.0.1", peer: "127.0.0.1", port: 25}
		s.open(t, "127.0.0.1:25")
		mustDo(t, setCapabilities(0))
		if _, err := DestroySockets([]netip.Prefix{prefix("127.0.0.0/8")}, []uint16{25}); !errors.Is(err, ErrPermission) {
			t.Errorf("without capabilities: %v, want ErrPermission", err)
		}
	})
}
