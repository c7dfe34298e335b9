package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where ip-netns(8) keeps named network namespaces.
const netnsDir = "/run/netns"

// Interface is the mail host's NIC; WorldInterface is the other end.
const (
	Interface      = "eth0"
	WorldInterface = "world0"
)

// Addresses on the link. Everybody in the world sits behind the router.
var (
	Mail4   = netip.MustParseAddr("192.0.2.25")
	Mail6   = netip.MustParseAddr("2001:db8::25")
	router4 = netip.MustParseAddr("192.0.2.1")
	router6 = netip.MustParseAddr("2001:db8::1")
)

// Nets of the world: a client may use every address in them as its own.
var (
	NetA = netip.MustParsePrefix("198.51.100.0/24")
	NetB = netip.MustParsePrefix("203.0.113.0/24")
	Net6 = netip.MustParsePrefix("2001:db8:8000::/33")
)

// Namespace is a network namespace with a name.
type Namespace struct {
	Name   string
	handle netns.NsHandle
}

// Do runs f on a thread that is in the namespace. Sockets that f opens and
// processes that it starts belong to the namespace for good.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with this goroutine, so that no
		// other goroutine can meet a thread in the wrong namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(n.handle), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter namespace %s: %w", n.Name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// Processes returns the ids of the processes in the namespace, other than this
// one.
func (n *Namespace) Processes() ([]int, error) {
	return members(filepath.Join(netnsDir, n.Name))
}

// shareNamespaces makes the directory of named namespaces a shared mount, as
// ip-netns(8) does when it adds one. If that happened later, every namespace
// would be mounted twice, and could not be removed.
func shareNamespaces() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", netnsDir, err)
	}
	err := unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share mounts of %s: %w", netnsDir, err)
	}
	return nil
}

// newNamespace makes a namespace that ip-netns(8) shows under its name.
func newNamespace(name string) (*Namespace, error) {
	n := &Namespace{Name: name}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked, as in Do
		handle, err := netns.NewNamed(name)
		n.handle = handle
		result <- err
	}()
	if err := <-result; err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	return n, nil
}

// remove ends what still runs in the namespace (children of servers that the
// lab started) and takes its name away.
func (n *Namespace) remove() error {
	err := n.handle.Close()
	return errors.Join(err, removeNamespace(n.Name))
}

// makeNetwork joins two new namespaces by a veth pair. On the world side the
// nets are local as whole prefixes, so that hundreds of client addresses
// cost one route each net.
func (l *Lab) makeNetwork(context.Context) error {
	if err := shareNamespaces(); err != nil {
		return err
	}
	for _, side := range []struct {
		name  string
		where **Namespace
	}{{"mail", &l.Mail}, {"world", &l.World}} {
		n, err := newNamespace(filepath.Base(l.Dir) + "-" + side.name)
		if err != nil {
			return err
		}
		*side.where = n
		l.defer_("remove network namespace "+n.Name, n.remove)
	}
	for _, n := range []*Namespace{l.Mail, l.World} {
		if err := n.Do(prepareSysctl); err != nil {
			return err
		}
	}
	return l.Connect()
}

// Connect joins the two namespaces, which are not joined: at first, or when the
// mail host's interface was removed.
func (l *Lab) Connect() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Interface
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: WorldInterface, PeerNamespace: netlink.NsFd(l.World.handle)}
	// From within: older kernels (6.12 does) refuse a name that an interface
	// has where the request comes from, and many machines have an eth0.
	if err := l.Mail.Do(func() error { return netlink.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	if err := l.Mail.Do(setupMail); err != nil {
		return fmt.Errorf("set up the mail host's network: %w", err)
	}
	if err := l.World.Do(setupWorld); err != nil {
		return fmt.Errorf("set up the world's network: %w", err)
	}
	return nil
}

// prepareSysctl makes IPv6 addresses usable at once, without duplicate
// address detection, and lets sockets bind to addresses of local prefixes.
func prepareSysctl() error {
	for name, value := range map[string]string{
		"net/ipv6/conf/all/accept_dad":     "0",
		"net/ipv6/conf/default/accept_dad": "0",
		"net/ipv6/conf/default/accept_ra":  "0",
		"net/ipv6/ip_nonlocal_bind":        "1",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl %s: %w", name, err)
		}
	}
	return nil
}

func setupMail() error {
	link, err := setupLink(Interface, netip.PrefixFrom(Mail4, 24), netip.PrefixFrom(Mail6, 64))
	if err != nil {
		return err
	}
	for _, gateway := range []netip.Addr{router4, router6} {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("add default route via %s: %w", gateway, err)
		}
	}
	return nil
}

func setupWorld() error {
	_, err := setupLink(WorldInterface, netip.PrefixFrom(router4, 24), netip.PrefixFrom(router6, 64))
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	for _, net := range []netip.Prefix{NetA, NetB, Net6} {
		dst, err := netlink.ParseIPNet(net.String())
		if err != nil {
			return fmt.Errorf("route %s: %w", net, err)
		}
		route := &netlink.Route{
			LinkIndex: lo.Attrs().Index,
			Dst:       dst,
			Type:      unix.RTN_LOCAL,
			Table:     unix.RT_TABLE_LOCAL,
			Scope:     netlink.SCOPE_HOST,
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("make %s local: %w", net, err)
		}
	}
	return nil
}

func setupLink(name string, addrs ...netip.Prefix) (netlink.Link, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("bring loopback up: %w", err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	for _, addr := range addrs {
		a, err := netlink.ParseAddr(addr.String())
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", addr, err)
		}
		if addr.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return nil, fmt.Errorf("add %s to %s: %w", addr, name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("bring %s up: %w", name, err)
	}
	return link, nil
}
