package loader

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// add makes an interface in the calling thread's namespace, and returns false
// where this kernel cannot.
func add(t *testing.T, l netlink.Link) bool {
	t.Helper()
	err := netlink.LinkAdd(l)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false
	}
	mustDo(t, err)
	mustDo(t, netlink.LinkSetUp(l))
	return true
}

// Makers of interfaces on eth0. They return the module that the kernel lacks,
// "" if it has all.

func plain(*testing.T) string { return "" }

func bridge(t *testing.T) string {
	br := &netlink.Bridge{LinkAttrs: attrs("br0")}
	if !add(t, br) {
		return "bridge"
	}
	mustDo(t, netlink.LinkSetMaster(must(netlink.LinkByName("eth0")), br))
	return ""
}

func macvlan(t *testing.T) string {
	a := attrs("mac0")
	a.ParentIndex = must(netlink.LinkByName("eth0")).Attrs().Index
	if !add(t, &netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}) {
		return "macvlan"
	}
	return ""
}

func vlanOn(parent string) func(t *testing.T) string {
	return func(t *testing.T) string {
		a := attrs(parent + ".100")
		a.ParentIndex = must(netlink.LinkByName(parent)).Attrs().Index
		if !add(t, &netlink.Vlan{LinkAttrs: a, VlanId: 100, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}) {
			return "8021q"
		}
		return ""
	}
}

func bond(mode netlink.BondMode) func(t *testing.T) string {
	return func(t *testing.T) string {
		bond := netlink.NewLinkBond(attrs("bond0"))
		bond.Mode = mode
		if !add(t, bond) {
			return "bonding"
		}
		slave := must(netlink.LinkByName("eth0"))
		mustDo(t, netlink.LinkSetDown(slave))
		mustDo(t, netlink.LinkSetBondSlave(slave, bond))
		mustDo(t, netlink.LinkSetUp(slave))
		return ""
	}
}

// both makes one and then the other.
func both(first, then func(*testing.T) string) func(*testing.T) string {
	return func(t *testing.T) string {
		if missing := first(t); missing != "" {
			return missing
		}
		return then(t)
	}
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// Interfaces of each kind, and those that they stand on: wherever the program
// is attached, nothing flagged arrives, and all else does.
func TestKindsOfInterfaces(t *testing.T) {
	active, broadcast := bond(netlink.BOND_MODE_ACTIVE_BACKUP), bond(netlink.BOND_MODE_BROADCAST)
	for _, c := range []struct {
		name   string
		make   func(*testing.T) string
		serves string // the interface that the host is reached by
		tag    bool   // of frames
		attach string
		mode   string
		reason string
		tc     bool // try traffic control, too
	}{
		{"veth", plain, "eth0", false, "eth0", ModeNative, "driver veth supports native XDP", false},
		{"bridge", bridge, "br0", false, "br0", ModeGeneric, "driver bridge has no native XDP", true},
		{"port of a bridge", bridge, "br0", false, "eth0", ModeNative, "a port of bridge br0", false},
		{"macvlan", macvlan, "mac0", false, "mac0", ModeGeneric, "driver macvlan has no native XDP", true},
		{"below macvlan", macvlan, "mac0", false, "eth0", ModeNative, "", false},
		{"VLAN", vlanOn("eth0"), "eth0.100", true, "eth0.100", ModeGeneric, "has no native XDP", true},
		{"below VLAN", vlanOn("eth0"), "eth0.100", true, "eth0", ModeNative, "", true},
		{"VLAN on a bridge", both(bridge, vlanOn("br0")), "br0.100", true, "br0.100", ModeGeneric, "", false},
		{"bond", active, "bond0", false, "bond0", ModeNative, "", true},
		{"bond that cannot", broadcast, "bond0", false, "bond0", ModeGeneric, "native XDP works in the modes", false},
		{"part of a bond", active, "bond0", false, "eth0", ModeNative, "part of bond bond0", false},
		{"VLAN on a bond", both(active, vlanOn("bond0")), "bond0.100", true, "bond0", ModeNative, "", false},
	} {
		for _, where := range append([]place{""}, placesHere(t)[1:]...) {
			if where != "" && !c.tc {
				continue
			}
			name := c.name
			if where != "" {
				name += "/" + string(where)
			}
			t.Run(name, func(t *testing.T) {
				ns, far := newNamespace(t), newNamespace(t)
				veth(t, ns, "eth0", far, "far0")
				var missing string
				ns.do(t, func() { missing = c.make(t) })
				if missing != "" {
					t.Skipf("SKIPPED, NOT TESTED: this kernel has no %s", missing)
				}
				ns.serve(t, c.serves)
				seen := ns.arrivals(t)
				flagged, clean := syn4(flaggedSource), syn4(cleanSource)
				if c.tag {
					flagged, clean = tagged(flagged, etherVLAN), tagged(clean, etherVLAN)
				}
				d := mustOpen(t, testOptions(t))
				mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
				f := c
				if where != "" {
					only(d, where)
					f.mode, f.reason = string(where), ""
				}
				follow(t, d, ns, c.attach).wantMode(t, c.attach, f.mode, f.reason)
				far.flood(t, func() int { return packetSocket("far0") }, flagged, clean)
				seen.more(t, 20)
				if n := seen.flagged.Load(); n != 0 {
					t.Errorf("%d flagged packets got past", n)
				}
				ns.do(t, func() {
					must(d.sync([]string{c.attach}))
					if got := d.Checks(); got.Differences != 0 {
						t.Errorf("%+v", got)
					}
					mustDo(t, d.Remove())
				})
				eventually(t, "flagged packets arrive once the program is gone", func() bool { return seen.flagged.Load() > 0 })
			})
		}
	}
}

// "auto" goes below the VLAN that carries the default route, until somebody
// else stands there, too; nothing flagged gets past meanwhile.
func TestAutoGoesBelowVLAN(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	var missing string
	ns.do(t, func() { missing = vlanOn("eth0")(t) })
	if missing != "" {
		t.Skipf("SKIPPED, NOT TESTED: this kernel has no %s", missing)
	}
	ns.serve(t, "eth0.100")
	ns.do(t, func() {
		mustDo(t, netlink.RouteAdd(&netlink.Route{LinkIndex: must(netlink.LinkByName("eth0.100")).Attrs().Index, Gw: net.IPv4(192, 0, 2, 250)}))
	})
	seen := ns.arrivals(t)
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
	f := follow(t, d, ns, "auto")
	f.wantMode(t, "eth0", ModeNative, "it carries eth0.100, over which the default route goes")
	far.flood(t, func() int { return packetSocket("far0") }, tagged(syn4(flaggedSource), etherVLAN), tagged(syn4(cleanSource), etherVLAN))
	seen.more(t, 20)
	ns.do(t, func() { missing = macvlan(t) })
	if missing == "" {
		f.wantMode(t, "eth0.100", ModeGeneric, "")
		eventually(t, "eth0 let go", func() bool { return ns.xdpID(t, "eth0") == 0 })
	}
	seen.more(t, 20)
	if n := seen.flagged.Load(); n != 0 {
		t.Errorf("%d flagged packets got past", n)
	}
}

// On a bridge what is for others goes past; on its port it does not.
func TestBridgeJudgesOnlyTheHost(t *testing.T) {
	for _, c := range []struct {
		attach string
		spared bool
	}{{"br0", true}, {"eth0", false}} {
		t.Run(c.attach, func(t *testing.T) {
			ns, far, guest := newNamespace(t), newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			veth(t, ns, "port1", guest, "eth0")
			ns.do(t, func() {
				bridge(t)
				mustDo(t, netlink.LinkSetMaster(must(netlink.LinkByName("port1")), must(netlink.LinkByName("br0"))))
			})
			guest.serve(t, "eth0")
			seen := guest.arrivals(t)
			d := mustOpen(t, testOptions(t))
			mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
			follow(t, d, ns, c.attach)
			far.flood(t, func() int { return packetSocket("far0") }, syn4(flaggedSource), syn4(cleanSource))
			seen.more(t, 20)
			if got := seen.flagged.Load() > 0; got != c.spared {
				t.Errorf("flagged packets to the guest pass: %t, want %t", got, c.spared)
			}
		})
	}
}

// Tunnels hand over packets without a link layer, and what carried them has
// been taken off.
func TestTunnels(t *testing.T) {
	ends := func(local, remote byte) (net.IP, net.IP) {
		return net.IPv4(10, 0, 0, local), net.IPv4(10, 0, 0, remote)
	}
	for _, c := range []struct {
		module string
		make   func(local, remote net.IP) netlink.Link
	}{
		{"ipip", func(local, remote net.IP) netlink.Link {
			return &netlink.Iptun{LinkAttrs: attrs("tnl0"), Local: local, Remote: remote, PMtuDisc: 1}
		}},
		{"ip_gre", func(local, remote net.IP) netlink.Link {
			return &netlink.Gretun{LinkAttrs: attrs("tnl0"), Local: local, Remote: remote, PMtuDisc: 1}
		}},
		{"sit", func(local, remote net.IP) netlink.Link {
			return &netlink.Sittun{LinkAttrs: attrs("tnl0"), Local: local, Remote: remote, PMtuDisc: 1, Proto: unix.IPPROTO_IPIP}
		}},
	} {
		for _, where := range placesHere(t)[1:] {
			t.Run(c.module+"/"+string(where), func(t *testing.T) {
				ns, far := newNamespace(t), newNamespace(t)
				veth(t, ns, "eth0", far, "far0")
				ns.address(t, "eth0", "10.0.0.1/24")
				far.address(t, "far0", "10.0.0.2/24")
				made := true
				ns.do(t, func() { made = made && add(t, c.make(ends(1, 2))) })
				far.do(t, func() { made = made && add(t, c.make(ends(2, 1))) })
				if !made {
					t.Skipf("SKIPPED, NOT TESTED: this kernel has no %s", c.module)
				}
				ns.address(t, "tnl0", serverAddress)
				seen := ns.arrivals(t)
				d := only(mustOpen(t, testOptions(t)), placeXDP, where)
				mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
				follow(t, d, ns, "tnl0").wantMode(t, "tnl0", string(where), "has no link layer that XDP could read")
				far.flood(t, func() int { return linkSocket("tnl0", unix.SOCK_DGRAM, unix.ETH_P_IP) }, syn4(flaggedSource)[14:], syn4(cleanSource)[14:])
				seen.more(t, 20)
				if n := seen.flagged.Load(); n != 0 {
					t.Errorf("%d flagged packets got past", n)
				}
				ns.do(t, func() { mustDo(t, d.Remove()) })
				eventually(t, "flagged packets arrive once the program is gone", func() bool { return seen.flagged.Load() > 0 })
			})
		}
	}
}

// A name may change while the program is attached: the interface keeps it, and
// the selection goes by what the name is now.
func TestRenamedWhileAttached(t *testing.T) {
	for _, where := range placesHere(t) {
		t.Run(string(where), func(t *testing.T) {
			ns, far := newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			d := only(mustOpen(t, testOptions(t)), where)
			mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
			f := follow(t, d, ns, "eth*")
			p := startProbe(t, far, "far0", ns, "eth0")
			var downs uint64
			for i := range 5 {
				from, to := fmt.Sprint("eth", i), fmt.Sprint("eth", i+1)
				ns.do(t, func() {
					l := must(netlink.LinkByName(from))
					if err := netlink.LinkSetName(l, to); !errors.Is(err, unix.EBUSY) {
						mustDo(t, err)
						return
					}
					// Before 6.3, none that is up can be renamed. veth lets go of the program before
					// it is down, and what is on its way just then passes by it.
					downs++
					mustDo(t, netlink.LinkSetDown(l))
					mustDo(t, netlink.LinkSetName(l, to))
					mustDo(t, netlink.LinkSetUp(l))
				})
				eventually(t, "the new name is reported", func() bool { return f.of(to).Index != 0 && f.of(to).Mode != ModeNone })
				p.more(t, 10)
			}
			if n := p.flagged.Load(); n > downs {
				t.Errorf("%d flagged packets got past", n)
			}
			if got := d.Checks(); got.Differences != 0 {
				t.Errorf("%+v", got)
			}
			f.stop()
			ns.do(t, func() { mustDo(t, d.Remove()) })
		})
	}
}

// An interface that moves to another namespace is let go, and taken up again
// when it comes back.
func TestMovedToAnotherNamespace(t *testing.T) {
	for _, where := range placesHere(t) {
		t.Run(string(where), func(t *testing.T) {
			ns, far, other := newNamespace(t), newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			d := only(dropped(t), where)
			f := follow(t, d, ns, "eth0")
			mode := f.of("eth0").Mode
			ns.do(t, func() { mustDo(t, netlink.LinkSetNsFd(must(netlink.LinkByName("eth0")), int(other.handle))) })
			f.wantMode(t, "eth0", ModeNone, "no such interface")
			eventually(t, "neither the program is with it, nor its pin there", func() bool {
				return other.xdpID(t, "eth0") == 0 && len(tcxIn(t, other, "eth0")) == 0 && len(must(d.pins.hooks())) == 0
			})
			other.do(t, func() {
				mustDo(t, netlink.LinkSetNsFd(must(netlink.LinkByName("eth0")), int(ns.handle)))
			})
			ns.up(t, "eth0")
			f.wantMode(t, "eth0", mode, "")
		})
	}
}
