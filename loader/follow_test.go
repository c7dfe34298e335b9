package loader

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// follower is a Follow that runs in a namespace.
type follower struct {
	stop func() // waits until Follow has returned

	mu   sync.Mutex
	last []Attachment
}

func follow(t testing.TB, d *Datapath, ns *namespace, selection ...string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{}
	first := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		ns.do(t, func() {
			err := d.Follow(ctx, selection, func(a []Attachment) {
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.last == nil {
					close(first)
				}
				f.last = append([]Attachment{}, a...)
			})
			if err != nil {
				t.Errorf("follow: %v", err)
			}
		})
	}()
	f.stop = func() { cancel(); <-done }
	t.Cleanup(f.stop)
	select {
	case <-first:
	case <-done:
		t.Fatal("Follow ended before the first report")
	}
	return f
}

// of returns the report on one interface.
func (f *follower) of(name string) Attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.last {
		if a.Interface == name {
			return a
		}
	}
	return Attachment{}
}

func (f *follower) wantMode(t testing.TB, name, mode, reason string) {
	t.Helper()
	var got Attachment
	defer func() {
		if t.Failed() {
			t.Logf("%s: %+v", name, got)
		}
	}()
	// An interface on its way out may be refused otherwise before it is gone.
	eventually(t, fmt.Sprintf("%s %s, %q", name, mode, reason), func() bool {
		got = f.of(name)
		return got.Mode == mode && strings.Contains(got.Reason, reason)
	})
}

func TestFollowNativeAndGeneric(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	d := mustOpen(t, testOptions(t))
	f := follow(t, d, ns, "eth0", "lo", "eth7")
	f.wantMode(t, "eth0", ModeNative, "driver veth supports native XDP")
	f.wantMode(t, "lo", ModeGeneric, "lo has no native XDP")
	f.wantMode(t, "eth7", ModeNone, "no such interface")
	if got := d.Attachments(); len(got) != 3 {
		t.Errorf("attachments: %v", got)
	}
	if err := d.Follow(context.Background(), []string{"lo"}, nil); err == nil {
		t.Error("a second Follow was let run")
	}

	// The next start says the same of what it found.
	f.stop()
	mustDo(t, d.Close())
	d = mustOpen(t, Options{Dir: d.pins.dir, Capacity: 1 << 10, Modes: DefaultOptions().Modes, Now: time.Now, Logger: d.log})
	f = follow(t, d, ns, "eth0", "lo")
	f.wantMode(t, "eth0", ModeNative, "driver veth supports native XDP")
	f.wantMode(t, "lo", ModeGeneric, "earlier start")
	if ns.xdpID(t, "eth0") != programID(d) || ns.xdpID(t, "lo") != programID(d) {
		t.Error("the new program is not in force")
	}
	f.stop()

	// Other interfaces selected: the rest is let go.
	f = follow(t, d, ns, "lo")
	if ns.xdpID(t, "eth0") != 0 || ns.xdpID(t, "lo") != programID(d) {
		t.Error("eth0 is not detached, or lo is")
	}
	f.stop()
	mustDo(t, d.Remove())
	if ns.xdpID(t, "lo") != 0 {
		t.Error("lo is not detached by Remove")
	}
}

func programID(d *Datapath) uint32 {
	id, _ := must(d.objects.WeirXdp.Info()).ID()
	return uint32(id)
}

// Leftovers of a run that selected other interfaces are detached by the next.
func TestFollowDropsLeftovers(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	veth(t, ns, "eth1", far, "far1")
	o := testOptions(t)
	d := mustOpen(t, o)
	follow(t, d, ns, "eth*").stop()
	if ns.xdpID(t, "eth0") == 0 || ns.xdpID(t, "eth1") == 0 || ns.xdpID(t, "lo") != 0 {
		t.Error("eth* means not eth0 and eth1")
	}
	mustDo(t, d.Close())
	ns.remove(t, "eth0")

	d = mustOpen(t, o)
	follow(t, d, ns, "lo").stop()
	if ns.xdpID(t, "eth1") != 0 {
		t.Error("eth1 is still attached")
	}
	if indexes := must(d.pins.hooks()); len(indexes) != 1 {
		t.Errorf("pinned links of %v, want only lo's", indexes)
	}
}

func TestFollowAppearVanishRename(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	d := mustOpen(t, testOptions(t))
	f := follow(t, d, ns, "eth0", "vpn*")
	f.wantMode(t, "eth0", ModeNone, "attached when it appears")
	f.wantMode(t, "vpn*", ModeNone, "no interface matches")

	veth(t, ns, "eth0", far, "far0")
	f.wantMode(t, "eth0", ModeNative, "")
	first := f.of("eth0").Index

	ns.down(t, "eth0")
	ns.up(t, "eth0")
	if ns.xdpID(t, "eth0") != programID(d) {
		t.Error("not attached after going down and up")
	}

	ns.remove(t, "eth0")
	f.wantMode(t, "eth0", ModeNone, "no such interface")
	eventually(t, "pin removed", func() bool { return len(must(d.pins.hooks())) == 0 })

	// Again with that name, and once even with that index.
	veth(t, ns, "eth0", far, "far0")
	f.wantMode(t, "eth0", ModeNative, "")
	index := f.of("eth0").Index
	if index == first || ns.xdpID(t, "eth0") != programID(d) {
		t.Errorf("new eth0 has index %d (before: %d), program %d", index, first, ns.xdpID(t, "eth0"))
	}
	ns.do(t, func() {
		mustDo(t, netlink.LinkDel(must(netlink.LinkByName("eth0"))))
		pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "far0", PeerNamespace: netlink.NsFd(far.handle)}
		pair.Name, pair.Index = "eth0", index
		mustDo(t, netlink.LinkAdd(pair))
	})
	eventually(t, "attached to the new interface of the old index", func() bool { return ns.xdpID(t, "eth0") == programID(d) })
	f.wantMode(t, "eth0", ModeNative, "")

	// Renamed out of the selection, and into it by a pattern.
	ns.do(t, func() { mustDo(t, netlink.LinkSetName(must(netlink.LinkByName("eth0")), "dmz0")) })
	f.wantMode(t, "eth0", ModeNone, "no such interface")
	if ns.xdpID(t, "dmz0") != 0 {
		t.Error("dmz0 is not selected and attached")
	}
	ns.do(t, func() { mustDo(t, netlink.LinkSetName(must(netlink.LinkByName("dmz0")), "vpn0.100")) })
	f.wantMode(t, "vpn0.100", ModeNative, "")
}

func TestFollowDefaultRoute(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	veth(t, ns, "eth1", far, "far1")
	ns.address(t, "eth0", "10.1.0.1/24")
	ns.address(t, "eth1", "2001:db8:9::1/64")
	d := mustOpen(t, testOptions(t))
	f := follow(t, d, ns, "auto")
	f.wantMode(t, "auto", ModeNone, "no interface carries a default route")

	route := func(change func(*netlink.Route) error, name, gateway string) {
		t.Helper()
		ns.do(t, func() {
			index := must(netlink.LinkByName(name)).Attrs().Index
			mustDo(t, change(&netlink.Route{LinkIndex: index, Gw: net.ParseIP(gateway)}))
		})
	}
	route(netlink.RouteAdd, "eth0", "10.1.0.254")
	f.wantMode(t, "eth0", ModeNative, "")
	route(netlink.RouteAdd, "eth1", "2001:db8:9::fe")
	f.wantMode(t, "eth1", ModeNative, "")
	route(netlink.RouteDel, "eth0", "10.1.0.254")
	eventually(t, "eth0 let go", func() bool { return ns.xdpID(t, "eth0") == 0 && f.of("eth0") == Attachment{} })
	if ns.xdpID(t, "eth1") != programID(d) || ns.xdpID(t, "lo") != 0 {
		t.Error("eth1 let go, or lo taken")
	}
}

func TestOldMapsGoAfterTheSwap(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	o := testOptions(t)
	d := mustOpen(t, o)
	mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}))
	follow(t, d, ns, "eth0").stop()
	before := programID(d)
	mustDo(t, d.Close())

	folders := func() (names []string) {
		for _, e := range must(os.ReadDir(o.Dir)) {
			names = append(names, e.Name())
		}
		return names
	}
	o.Capacity *= 2
	d = mustOpen(t, o)
	if ns.xdpID(t, "eth0") != before {
		t.Error("the earlier program was replaced before Follow")
	}
	if got := collect(t, d); len(got) != 0 {
		t.Errorf("entries %v in maps of another layout", got)
	}
	if got := folders(); len(got) != 3 {
		t.Errorf("before the swap: %v, want both layouts and the links", got)
	}
	follow(t, d, ns, "eth0").stop()
	if got := folders(); len(got) != 2 || !slices.Contains(got, mapsPrefix+d.layout) {
		t.Errorf("after the swap: %v, want only the new layout", got)
	}
	if ns.xdpID(t, "eth0") != programID(d) {
		t.Error("the new program is not in force")
	}
}

func TestBadSelection(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	for _, selection := range [][]string{nil, {"eth0", "[a"}} {
		if err := d.Follow(context.Background(), selection, nil); err == nil {
			t.Errorf("selection %q was accepted", selection)
		}
	}
}
