package loader

import (
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// onOwnThread runs f on a thread that ends with it, so that f may change what
// belongs to the thread. If f ends the test, so does this.
func onOwnThread(t testing.TB, f func()) {
	t.Helper()
	returned := make(chan bool, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is spoilt
		ok := false
		defer func() { returned <- ok }()
		f()
		ok = true
	}()
	if !<-returned {
		t.FailNow()
	}
}

// namespace is a network namespace that nobody else sees.
type namespace struct{ handle netns.NsHandle }

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	needKernel(t)
	ns := &namespace{}
	var err error
	onOwnThread(t, func() { ns.handle, err = netns.New() })
	mustDo(t, err)
	t.Cleanup(func() { _ = ns.handle.Close() })
	ns.do(t, func() {
		mustDo(t, netlink.LinkSetUp(must(netlink.LinkByName("lo"))))
	})
	return ns
}

// do runs f in the namespace.
func (ns *namespace) do(t testing.TB, f func()) {
	t.Helper()
	onOwnThread(t, func() {
		if err := netns.Set(ns.handle); err != nil {
			t.Errorf("enter namespace: %v", err)
			return
		}
		f()
	})
}

// veth makes a pair between two namespaces, both ends up.
func veth(t testing.TB, a *namespace, nameA string, b *namespace, nameB string) {
	t.Helper()
	a.do(t, func() {
		pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: nameB, PeerNamespace: netlink.NsFd(b.handle)}
		pair.Name = nameA
		mustDo(t, netlink.LinkAdd(pair))
		mustDo(t, netlink.LinkSetUp(pair))
	})
	b.up(t, nameB)
}

func (ns *namespace) up(t testing.TB, name string) {
	t.Helper()
	ns.do(t, func() { mustDo(t, netlink.LinkSetUp(must(netlink.LinkByName(name)))) })
}

func (ns *namespace) down(t testing.TB, name string) {
	t.Helper()
	ns.do(t, func() { mustDo(t, netlink.LinkSetDown(must(netlink.LinkByName(name)))) })
}

func (ns *namespace) remove(t testing.TB, name string) {
	t.Helper()
	ns.do(t, func() { mustDo(t, netlink.LinkDel(must(netlink.LinkByName(name)))) })
}

// address gives an interface an address and waits until it can be used.
func (ns *namespace) address(t testing.TB, name, cidr string) {
	t.Helper()
	ns.do(t, func() {
		a := must(netlink.ParseAddr(cidr))
		if netip.MustParsePrefix(cidr).Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		mustDo(t, netlink.AddrAdd(must(netlink.LinkByName(name)), a))
		eventually(t, cidr+" usable", func() bool {
			_, err := netlink.RouteGet(a.IP)
			return err == nil
		})
	})
}

// xdpID returns the id of the XDP program on an interface, 0 if none.
func (ns *namespace) xdpID(t testing.TB, name string) (id uint32) {
	t.Helper()
	ns.do(t, func() {
		if x := must(netlink.LinkByName(name)).Attrs().Xdp; x != nil {
			id = x.ProgId
		}
	})
	return id
}

// Offloads, as ethtool -K names them (linux/ethtool.h).
const (
	offloadGRO = 0x2c // ETHTOOL_SGRO
)

// offload turns an offload of an interface on or off. A veth takes frames
// that XDP at its other end sends only with GRO on.
func (ns *namespace) offload(t testing.TB, name string, which uint32, on bool) {
	t.Helper()
	value := struct{ command, data uint32 }{command: which}
	if on {
		value.data = 1
	}
	ns.do(t, func() {
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
		defer unix.Close(fd)
		request := struct { // struct ifreq
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], name)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			t.Fatalf("offload %#x of %s: %v", which, name, errno)
		}
	})
}
