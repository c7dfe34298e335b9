package loader

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Real clients of a real kernel hang, and the server sees nothing of them.
func TestTarpitHolds(t *testing.T) {
	for _, c := range []struct {
		name, mode     string
		receiveOffload bool
	}{
		{"native", ModeNative, true},
		{"generic", ModeGeneric, false},
		{"native, by tcx", ModeNative, false},
		{"tcx", ModeTCX, false},
		{"clsact", ModeClsact, false},
	} {
		if c.mode == ModeTCX && !haveTCX() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			host, far := newNamespace(t), newNamespace(t)
			veth(t, host, "eth0", far, "far0")
			far.offload(t, "far0", offloadGRO, c.receiveOffload)
			host.address(t, "eth0", "192.0.2.25/24")
			host.address(t, "eth0", "2001:db8::25/64")
			far.address(t, "far0", "192.0.2.1/24")
			far.address(t, "far0", "2001:db8::1/64")
			far.address(t, "far0", "192.0.2.2/24")
			d := mustOpen(t, testOptions(t))
			mustDo(t, d.Put(
				Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionTarpit},
				Entry{Prefix: prefix("2001:db8::/48"), Action: ActionTarpit},
			))
			f := attachAs(t, d, host, "eth0", c.mode)
			reason := ""
			if c.mode == ModeNative && !c.receiveOffload {
				reason = "tarpit answers by tcx, as the driver takes no frames"
			}
			answers := reason == "" || haveTCX()
			if !answers {
				reason = "tarpit can only drop here"
			}
			f.wantMode(t, "eth0", c.mode, reason)
			if a := f.of("eth0"); a.Tarpit != answers {
				t.Errorf("%+v", a)
			}
			for _, path := range [][2]string{{"192.0.2.1", "192.0.2.25"}, {"2001:db8::1", "2001:db8::25"}} {
				hold(t, host, far, path[0], path[1], answers)
			}
			// Who is not flagged gets through.
			var l net.Listener
			host.do(t, func() { l = must(net.Listen("tcp", "192.0.2.25:25")) })
			defer l.Close()
			far.do(t, func() {
				c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("192.0.2.2")}, Timeout: 5 * time.Second}).Dial("tcp", "192.0.2.25:25")
				mustDo(t, err)
				mustDo(t, c.Close())
			})
		})
	}
}

// What sends the tarpit's answers by tcx stays when the agent stops, is taken
// over, and goes with the program.
func TestTarpitAnswersOutliveTheAgent(t *testing.T) {
	if !haveTCX() {
		t.Skip("SKIPPED: this kernel has no tcx")
	}
	host, far := newNamespace(t), newNamespace(t)
	veth(t, host, "eth0", far, "far0")
	host.address(t, "eth0", "192.0.2.25/24")
	far.address(t, "far0", "192.0.2.1/24")
	senders := func() (n int) {
		host.do(t, func() {
			index := must(netlink.LinkByName("eth0")).Attrs().Index
			n = len(must(link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})).Programs)
		})
		return n
	}
	o := testOptions(t)
	d := mustOpen(t, o)
	mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionTarpit}))
	attachAs(t, d, host, "eth0", ModeNative).stop()
	for range 2 {
		mustDo(t, d.Close())
		if n := senders(); n != 1 {
			t.Fatalf("%d programs send answers without an agent, want 1", n)
		}
		hold(t, host, far, "192.0.2.1", "192.0.2.25", true)
		o.Capacity++ // another layout, and another secret
		d = mustOpen(t, o)
		mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionTarpit}))
		attachAs(t, d, host, "eth0", ModeNative).stop()
		hold(t, host, far, "192.0.2.1", "192.0.2.25", true)
	}
	attached := follow(t, d, host, "none0")
	attached.stop()
	eventually(t, "no program sends answers any more", func() bool { return senders() == 0 })
}

// haveTCX tells whether the kernel has tcx (6.6).
func haveTCX() bool {
	var major, minor int
	must(fmt.Sscanf(release(), "%d.%d", &major, &minor))
	return major > 6 || major == 6 && minor >= 6
}

// hold connects from a tarpitted client: it must wait in vain, for the
// connection or, if it is answered, for a word of the server.
func hold(t *testing.T, host, far *namespace, client, server string, answers bool) {
	t.Helper()
	const patience = time.Second
	var l *net.TCPListener
	target := netip.AddrPortFrom(netip.MustParseAddr(server), 25)
	host.do(t, func() { l = must(net.ListenTCP("tcp", net.TCPAddrFromAddrPort(target))) })
	defer l.Close()
	far.do(t, func() {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: patience}
		c, err := dialer.Dial("tcp", target.String())
		var timeout net.Error
		if !answers {
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s connects: %v, want a timeout", client, err)
			}
			return
		}
		if err != nil {
			t.Errorf("%s connects: %v", client, err)
			return
		}
		defer c.Close()
		_, err = c.Write([]byte("EHLO client.example\r\n"))
		mustDo(t, err)
		mustDo(t, c.SetReadDeadline(time.Now().Add(patience)))
		if n, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s reads %d bytes, %v, want a timeout", client, n, err)
		}
		if unsent := must(unacknowledged(c)); unsent == 0 {
			t.Errorf("%s: what it sent was taken", client)
		}
	})
	mustDo(t, l.SetDeadline(time.Now().Add(100*time.Millisecond)))
	if c, err := l.Accept(); err == nil {
		t.Errorf("the server sees %s", c.RemoteAddr())
	}
}

// unacknowledged returns how many bytes the peer has not acknowledged (SIOCOUTQ,
// tcp(7)).
func unacknowledged(c net.Conn) (n int, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { n, failure = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n, errors.Join(err, failure)
}

// attachAs attaches in a mode, though a better one would do.
func attachAs(t testing.TB, d *Datapath, ns *namespace, name, mode string) *follower {
	t.Helper()
	switch mode {
	case ModeTCX:
		only(d, placeTCX)
	case ModeClsact:
		only(d, placeClsact)
	case ModeGeneric:
		ns.do(t, func() {
			mustDo(t, must(d.hang(rung{ModeGeneric, placeXDP, link.XDPGenericMode}, must(netlink.LinkByName(name)))).release())
		})
	}
	f := follow(t, d, ns, name)
	f.wantMode(t, name, mode, "")
	return f
}
