package loader

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestInterruptedDumps: interfaces that come and go for a while do not keep
// the agent from starting, and what fails otherwise fails at once.
func TestInterruptedDumps(t *testing.T) {
	interrupted := os.NewSyscallError("recvfrom", unix.EINTR)
	for _, test := range []struct {
		name  string
		err   error
		times int
		want  error
		tries int
	}{
		{"whole", nil, 0, nil, 1},
		{"changing for a while", netlink.ErrDumpInterrupted, 8, nil, 9},
		{"a signal", interrupted, 1, nil, 2},
		{"changing for ever", netlink.ErrDumpInterrupted, 1000, netlink.ErrDumpInterrupted, 11},
		{"not permitted", unix.EPERM, 1000, unix.EPERM, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, tries := time.Now(), 0
				got, err := WholeDump(func() (int, error) {
					if tries++; tries <= test.times {
						return -1, test.err
					}
					return 7, nil
				})
				if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || tries != test.tries || err == nil && got != 7 {
					t.Errorf("%d, %v after %d tries", got, err, tries)
				}
				if took := time.Since(start); took > 1100*time.Millisecond {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// Where "auto" attaches when the default route goes over something that
// stands on something else.
func TestBeneath(t *testing.T) {
	link := func(index int, name string, kind netlink.Link, change func(*netlink.LinkAttrs)) netlink.Link {
		a := kind.Attrs()
		a.Index, a.Name, a.EncapType, a.NetNsID = index, name, "ether", -1
		if change != nil {
			change(a)
		}
		return kind
	}
	on := func(parent int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.ParentIndex = parent }
	}
	portOf := func(master, parent int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.MasterIndex, a.ParentIndex = master, parent }
	}
	eth0 := link(2, "eth0", &netlink.Device{}, nil)
	vlan10 := link(10, "eth0.10", &netlink.Vlan{}, on(2))
	vlan20 := link(20, "eth0.20", &netlink.Vlan{}, on(2))
	double := link(11, "eth0.10.5", &netlink.Vlan{}, on(10))
	triple := link(12, "eth0.10.5.6", &netlink.Vlan{}, on(11))
	bond := link(3, "bond0", &netlink.Bond{}, nil)
	onBond := link(30, "bond0.10", &netlink.Vlan{}, on(3))
	bridge := link(4, "br0", &netlink.Bridge{}, nil)
	onBridge := link(40, "br0.10", &netlink.Vlan{}, on(4))
	for _, c := range []struct {
		name  string
		links []netlink.Link
		index int
		want  int
	}{
		{"a NIC", []netlink.Link{eth0}, 2, 2},
		{"a VLAN", []netlink.Link{eth0, vlan10}, 10, 2},
		{"one of two VLANs", []netlink.Link{eth0, vlan10, vlan20}, 20, 2},
		{"a VLAN in a VLAN", []netlink.Link{eth0, vlan10, double}, 11, 2},
		{"more tags than are read", []netlink.Link{eth0, vlan10, double, triple}, 12, 10},
		{"another VLAN is a port of a bridge", []netlink.Link{eth0, bridge, vlan10, link(21, "eth0.21", &netlink.Vlan{}, portOf(4, 2))}, 10, 10},
		{"a macvlan beside", []netlink.Link{eth0, vlan10, link(22, "mac0", &netlink.Macvlan{}, on(2))}, 10, 10},
		{"on a bond", []netlink.Link{bond, onBond}, 30, 3},
		{"on a bridge", []netlink.Link{bridge, onBridge}, 40, 40},
		{"on a port of a bridge", []netlink.Link{bridge, link(5, "eth1", &netlink.Device{}, portOf(4, 0)), link(50, "eth1.10", &netlink.Vlan{}, on(5))}, 50, 50},
		{"macvlan", []netlink.Link{eth0, link(22, "mac0", &netlink.Macvlan{}, on(2))}, 22, 22},
		{"what it stands on is in another namespace", []netlink.Link{eth0, link(10, "net", &netlink.Vlan{}, func(a *netlink.LinkAttrs) { a.ParentIndex, a.NetNsID = 2, 0 })}, 10, 10},
		{"gone meanwhile", nil, 10, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, note := beneath(c.links, c.index)
			if got != c.want || (note != "") != (c.want != c.index) {
				t.Errorf("%d, %q, want %d", got, note, c.want)
			}
		})
	}
}
