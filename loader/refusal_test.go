package loader

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What drivers say, and what weir makes of it. The sayings are those of the
// kernel's own drivers, NL_SET_ERR_MSG_MOD's prefix included.
func TestRefusalWords(t *testing.T) {
	for _, c := range []struct {
		name  string
		facts facts
		want  []string // in this order; each is a part of one
	}{
		{"no XDP at all",
			facts{driver: "e1000", err: unix.EOPNOTSUPP, said: "Underlying driver does not support XDP in native mode"},
			[]string{"driver e1000 has no native XDP"}},
		{"no XDP, and an old kernel that does not say so",
			facts{name: "lo", err: unix.EOPNOTSUPP},
			[]string{"lo has no native XDP"}},
		{"virtio, offloads that the guest may switch",
			facts{name: "ens3", driver: "virtio_net", err: unix.EOPNOTSUPP, said: "virtio_net: Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first",
				features: map[string]feature{"rx-gro-hw": {on: true}}},
			[]string{"driver virtio_net refused native XDP (\"Can't set XDP", "ethtool -K ens3 rx-gro-hw off"}},
		{"virtio, offloads that it may not",
			facts{name: "ens3", driver: "virtio_net", err: unix.EOPNOTSUPP, said: "Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first",
				features: map[string]feature{"rx-gro-hw": {on: true, fixed: true}}},
			[]string{"refused", "guest_tso4=off"}},
		{"virtio of older kernels",
			facts{name: "ens3", driver: "virtio_net", err: unix.EOPNOTSUPP, said: "Can't set XDP while host is implementing LRO/CSUM, disable LRO/CSUM first"},
			[]string{"refused", "ethtool -K ens3 lro off"}},
		{"virtio, queues",
			facts{name: "ens3", driver: "virtio_net", err: unix.ENOMEM, said: "Too few free TX rings available", channels: channels{maxCombined: 4, combined: 4}},
			[]string{"Too few free TX rings", "4 of 4 are in use: ethtool -L ens3 combined 2"}},
		{"virtio, one queue",
			facts{name: "ens3", driver: "virtio_net", err: unix.ENOMEM, said: "Too few free TX rings available", channels: channels{maxCombined: 1, combined: 1}},
			[]string{"Too few free TX rings", "give the machine more queues"}},
		{"virtio, MTU",
			facts{name: "ens3", driver: "virtio_net", mtu: 9000, err: unix.EINVAL, said: "MTU too large to enable XDP"},
			[]string{"MTU too large", "its MTU is 9000: ip link set dev ens3 mtu 1500"}},
		{"virtio, MTU, in other words",
			facts{name: "ens3", driver: "virtio_net", mtu: 4000, err: unix.EINVAL, said: "MTU requires at least ..., XDP expects header/data in single page"},
			[]string{"single page", "its MTU is 4000"}},
		{"mlx5, LRO",
			facts{name: "eth0", driver: "mlx5_core", err: unix.EINVAL, said: "can't set XDP while HW-GRO/LRO is on, disable them first"},
			[]string{"refused", "ethtool -K eth0 lro off", "ethtool -K eth0 rx-gro-hw off"}},
		{"bond, mode",
			facts{name: "bond0", kind: "bond", driver: "bonding", err: unix.EOPNOTSUPP, said: "No native XDP support for the current bonding mode"},
			[]string{"refused", "balance-rr, active-backup"}},
		{"bond, slave",
			facts{name: "bond0", kind: "bond", driver: "bonding", mtu: 9000, err: unix.EOPNOTSUPP, said: "Slave device does not support XDP"},
			[]string{"refused", "each of its slaves"}},
		{"silent, nothing in sight",
			facts{name: "eth0", driver: "some", mtu: 1500, err: unix.EINVAL, features: map[string]feature{"rx-gro": {on: true}}},
			[]string{"driver some refused native XDP (invalid argument)"}},
		{"silent, and all that there can be",
			facts{name: "eth0", driver: "some", mtu: 9000, err: unix.ENOSPC, channels: channels{maxRX: 8, rx: 2},
				features: map[string]feature{"rx-lro": {on: true}, "rx-gro-hw": {on: true}}},
			[]string{"no space left", "mtu 1500", "lro off", "rx-gro-hw off", "2 receive queues of 8: ethtool -L eth0 rx 8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.facts.words()
			if len(got) != len(c.want) {
				t.Fatalf("%q, want %d parts", got, len(c.want))
			}
			for i, part := range c.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("%q, want %q in it", got[i], part)
				}
			}
		})
	}
}

// A driver that really refuses, and really says why: veth with fewer receive
// queues than its peer sends by.
func TestRefusedByVeth(t *testing.T) {
	ns := newNamespace(t)
	ns.do(t, func() {
		pair := &netlink.Veth{LinkAttrs: attrs("eth0"), PeerName: "far0", PeerNumTxQueues: 4}
		pair.NumRxQueues, pair.NumTxQueues = 1, 1
		mustDo(t, netlink.LinkAdd(pair))
		for _, name := range []string{"eth0", "far0"} {
			mustDo(t, netlink.LinkSetUp(must(netlink.LinkByName(name))))
		}
	})
	d := mustOpen(t, testOptions(t))
	f := follow(t, d, ns, "eth0")
	f.wantMode(t, "eth0", ModeGeneric, "driver veth refused native XDP (\"XDP expects number of rx queues not less than peer tx queues\"); it has too few receive queues for its peer")
}

// What the driver tells through ethtool.
func TestEthtool(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	ns.do(t, func() {
		if got := driver(must(netlink.LinkByName("eth0"))); got != "veth" {
			t.Errorf("driver %q", got)
		}
		if got := driver(must(netlink.LinkByName("lo"))); got != "" {
			t.Errorf("driver of lo %q", got)
		}
		const setGRO = 0x2c
		for _, on := range []bool{true, false, true} {
			value := uint32(0)
			if on {
				value = 1
			}
			mustDo(t, ethtool("eth0", command(0, setGRO, value)))
			if got := featuresOf("eth0")["rx-gro"]; got != (feature{on: on}) {
				t.Errorf("GRO %t: %+v", on, got)
			}
		}
		if got := featuresOf("lo")["loopback"]; got != (feature{on: true, fixed: true}) {
			t.Errorf("loopback of lo: %+v", got)
		}
		if got := featuresOf("eth9"); got != nil {
			t.Errorf("features of nothing: %v", got)
		}
		if got := channelsOf("eth0"); got.rx < 1 || got.maxRX < got.rx {
			t.Errorf("channels: %+v", got)
		}
	})
}

// The modes are what status and its readers expect.
func TestPlacesAreModes(t *testing.T) {
	if got := []string{string(placeTCX), string(placeClsact)}; !slices.Equal(got, []string{ModeTCX, ModeClsact}) {
		t.Errorf("%q", got)
	}
}
