package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weir/loader"
)

// The guest's NICs, as package kernels puts them in.
const (
	joined1 = "52:54:00:00:00:01" // one queue; wired to
	joined2 = "52:54:00:00:00:02" // this one
	few     = "52:54:00:00:00:03" // a queue pair for each CPU, and none left for XDP
	many    = "52:54:00:00:00:04" // twice as many
	merged  = "52:54:00:00:00:05" // the host merges packets, and goes on doing so
)

// TestVirtio attaches to virtio_net, the NIC of nearly every rented host:
// natively where the driver lets weir, generically and with a reason where it
// does not, and in both cases so that a flagged source gets no answer.
func TestVirtio(t *testing.T) {
	needGuest(t)
	if isOld(t) {
		t.Skip("weir refuses this kernel")
	}
	names := make(map[string]string) // by hardware address
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		names[l.Attrs().HardwareAddr.String()] = l.Attrs().Name
	}
	var selection []string
	for _, nic := range []string{joined1, joined2, few, many, merged} {
		if names[nic] == "" {
			t.Fatalf("no NIC with address %s, only %v", nic, names)
		}
		if nic != joined2 {
			up(t, names[nic])
			selection = append(selection, names[nic])
		}
	}

	surveyed, err := loader.Survey(selection)
	must(t, err)
	expected := make(map[string]loader.Surveyed)
	for _, s := range surveyed {
		expected[s.Name] = s
	}
	o := loader.DefaultOptions()
	o.Dir, o.Capacity, o.Logger = "/sys/fs/bpf/weir-virtio", 1<<10, slog.New(slog.DiscardHandler)
	d, err := loader.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, errors.Join(d.Remove(), d.Close())) }()
	ctx, attached := context.WithCancel(t.Context())
	modes := make(map[string]loader.Attachment)
	must(t, d.Follow(ctx, selection, func(all []loader.Attachment) {
		for _, a := range all {
			modes[a.Interface] = a
		}
		attached()
	}))
	for nic, mode := range map[string]string{
		joined1: loader.ModeNative,
		few:     loader.ModeNative,
		many:    loader.ModeNative,
		merged:  loader.ModeGeneric,
	} {
		a := modes[names[nic]]
		if t.Logf("%s: %s: %s", a.Interface, a.Mode, a.Reason); a.Mode != mode || a.Reason == "" {
			t.Errorf("%s: %+v, want mode %s and a reason", nic, a, mode)
		}
		s := expected[names[nic]]
		if tells := loader.AtLeast(loader.Release(), 6, 3); tells && s.Expected != mode || !tells && s.Expected != "" || s.Driver != "virtio_net" {
			t.Errorf("%s: a survey had expected %+v, want mode %s", nic, s, mode)
		}
	}

	far := newWorld(t, names[joined2], "192.0.2.1/24", "192.0.2.66/24", "2001:db8::1/64", "2001:db8:0:66::1/64")
	for _, a := range []string{"192.0.2.25/24", "2001:db8::25/64"} {
		address(t, names[joined1], a)
	}
	// The strangers' net, which is not the link's.
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: index(t, names[joined1]), Dst: ipNet(t, "2001:db8:0:66::/64")}))
	must(t, d.Put(loader.Entry{Prefix: netip.MustParsePrefix("192.0.2.66/32"), Action: loader.ActionDrop}))
	must(t, d.Put(loader.Entry{Prefix: netip.MustParsePrefix("2001:db8:0:66::/64"), Action: loader.ActionDrop}))
	for _, c := range []struct {
		from, to string
		answered bool
	}{
		{"192.0.2.1", "192.0.2.25:25", true},
		{"2001:db8::1", "[2001:db8::25]:25", true},
		{"192.0.2.66", "192.0.2.25:25", false},
		{"2001:db8:0:66::1", "[2001:db8::25]:25", false},
		{"192.0.2.66", "192.0.2.25:8025", true},
	} {
		if err := far.greeted(c.from, c.to); (err == nil) != c.answered {
			t.Errorf("from %s to %s: %v, want answered: %t", c.from, c.to, err, c.answered)
		}
	}
	for _, e := range []string{"192.0.2.66/32", "2001:db8:0:66::/64"} {
		if e, _, err := d.Get(netip.MustParsePrefix(e)); err != nil || e.Dropped == 0 || e.Attempts == 0 {
			t.Errorf("nothing was counted: %+v, %v", e, err)
		}
	}
}

// world is a network namespace with one NIC.
type world struct{ handle netns.NsHandle }

// newWorld moves a NIC into a namespace of its own and gives it addresses.
func newWorld(t *testing.T, nic string, addresses ...string) *world {
	t.Helper()
	w := new(world)
	must(t, onOwnThread(func() (err error) {
		w.handle, err = netns.New()
		return err
	}))
	t.Cleanup(func() { _ = w.handle.Close() })
	l, err := netlink.LinkByName(nic)
	must(t, err)
	must(t, netlink.LinkSetNsFd(l, int(w.handle)))
	must(t, w.do(func() error {
		up(t, nic)
		for _, a := range addresses {
			address(t, nic, a)
		}
		return nil
	}))
	return w
}

// onOwnThread runs f on a thread that ends with it.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is spoilt
		result <- f()
	}()
	return <-result
}

func (w *world) do(f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(w.handle); err != nil {
			return err
		}
		return f()
	})
}

// greeted connects from an address in the world to a server on this side and
// returns an error unless the server greets.
func (w *world) greeted(from, to string) error {
	l, err := net.Listen("tcp", to)
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "220 mail.example.test\r\n")
			c.Close()
		}
	}()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 3 * time.Second}
	return w.do(func() error {
		c, err := dialer.Dial("tcp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			return err
		}
		_, err = bufio.NewReader(c).ReadString('\n')
		return err
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func up(t *testing.T, nic string) {
	t.Helper()
	l, err := netlink.LinkByName(nic)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
}

func index(t *testing.T, nic string) int {
	t.Helper()
	l, err := netlink.LinkByName(nic)
	must(t, err)
	return l.Attrs().Index
}

func ipNet(t *testing.T, cidr string) *net.IPNet {
	t.Helper()
	n, err := netlink.ParseIPNet(cidr)
	must(t, err)
	return n
}

// address gives a NIC an address that can be used at once.
func address(t *testing.T, nic, cidr string) {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	l, err := netlink.LinkByName(nic)
	must(t, err)
	must(t, netlink.AddrAdd(l, a))
}
