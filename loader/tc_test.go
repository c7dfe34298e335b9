package loader

import (
	"fmt"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Answers of traffic control (linux/pkt_cls.h).
const (
	tcShot   = 2
	tcUnspec = 1<<32 - 1
)

// quiet keeps a namespace from sending anything by itself.
func (ns *namespace) quiet(t testing.TB) {
	t.Helper()
	ns.do(t, func() { mustDo(t, os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)) })
}

func (ns *namespace) mtu(t testing.TB, name string, mtu int) {
	t.Helper()
	ns.do(t, func() { mustDo(t, netlink.LinkSetMTU(must(netlink.LinkByName(name)), mtu)) })
}

// wantCounted sends a packet and waits until it is counted by the exit.
func wantCounted(t *testing.T, d *Datapath, exit string, bytes int, send func()) {
	t.Helper()
	before := must(d.Counters())
	send()
	eventually(t, "a packet is counted", func() bool {
		for i, c := range must(d.Counters()) {
			switch {
			case c == before[i]:
			case c.Name != exit:
				t.Fatalf("counted as %s, want %s", c.Name, exit)
			case c.Packets != before[i].Packets+1 || c.Bytes != before[i].Bytes+uint64(bytes):
				t.Fatalf("%s moved by %d packets, %d bytes for one of %d", exit, c.Packets-before[i].Packets, c.Bytes-before[i].Bytes, bytes)
			default:
				return true
			}
		}
		return false
	})
}

// What the program makes of frames that came through a real interface, in
// traffic control: the kernel has taken the outermost tag off by then.
func TestFramesInTrafficControl(t *testing.T) {
	for _, where := range placesHere(t)[1:] {
		t.Run(string(where), func(t *testing.T) {
			ns, far := newNamespace(t), newNamespace(t)
			ns.quiet(t)
			far.quiet(t)
			veth(t, ns, "eth0", far, "far0")
			ns.mtu(t, "eth0", 3000)
			far.mtu(t, "far0", 3000)
			d := only(dropped(t), where)
			follow(t, d, ns, "eth0")
			var out int
			far.do(t, func() { out = packetSocket("far0") })
			defer unix.Close(out)
			for _, c := range shapes() {
				t.Run(c.name, func(t *testing.T) {
					seen := len(c.frame)
					if tag := uint16(c.frame[12])<<8 | uint16(c.frame[13]); tag == etherVLAN || tag == etherQinQ {
						seen -= 4
					}
					wantCounted(t, d, c.want, seen, func() { must(unix.Write(out, c.frame)) })
				})
			}
		})
	}
}

// Both answers, and that the program for frames agrees with XDP on all shapes.
func TestTrafficControlAnswers(t *testing.T) {
	d := dropped(t)
	for _, c := range shapes() {
		t.Run(c.name, func(t *testing.T) {
			want := uint32(tcUnspec)
			if c.want == "dropped" {
				want = tcShot
			}
			before := must(d.Counters())
			got, err := d.objects.WeirTc.Run(&ebpf.RunOptions{Data: c.frame})
			mustDo(t, err)
			for i, now := range must(d.Counters()) {
				if moved := now != before[i]; moved != (now.Name == c.want) {
					t.Errorf("%s moved: %t, want %s", now.Name, moved, c.want)
				}
			}
			if got != want {
				t.Errorf("answer %d, want %d", int32(got), int32(want))
			}
		})
	}
}

// tun makes an interface whose other end is the test.
func tun(t *testing.T, ns *namespace, name string, mode netlink.TuntapMode) *os.File {
	t.Helper()
	var f *os.File
	ns.do(t, func() {
		l := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: mode, Flags: netlink.TUNTAP_NO_PI, Queues: 1, NonPersist: true}
		l.Name = name
		mustDo(t, netlink.LinkAdd(l))
		f = l.Fds[0]
	})
	t.Cleanup(func() { _ = f.Close() })
	ns.up(t, name)
	return f
}

// On an interface without a link layer the packet begins with the IP header.
// There, traffic control reads it; XDP would be let attach, and be blind.
func TestWithoutLinkLayer(t *testing.T) {
	for _, where := range placesHere(t)[1:] {
		t.Run(string(where), func(t *testing.T) {
			ns := newNamespace(t)
			ns.quiet(t)
			out := tun(t, ns, "tun0", netlink.TUNTAP_MODE_TUN)
			d := only(dropped(t), placeXDP, where)
			f := follow(t, d, ns, "tun0")
			f.wantMode(t, "tun0", string(where), "an interface of kind tuntap has no link layer that XDP could read")
			for _, c := range shapes() {
				if proto := uint16(c.frame[12])<<8 | uint16(c.frame[13]); proto != etherIPv4 && proto != etherIPv6 ||
					c.frame[14]>>4 != 4 && proto == etherIPv4 || c.frame[14]>>4 != 6 && proto == etherIPv6 {
					continue // there are no tags, and tun looks at the version
				}
				t.Run(c.name, func(t *testing.T) {
					packet := c.frame[14:]
					wantCounted(t, d, c.want, len(packet), func() { must(out.Write(packet)) })
				})
			}
		})
	}
}

// A tap device is an Ethernet one.
func TestTap(t *testing.T) {
	ns := newNamespace(t)
	ns.quiet(t)
	out := tun(t, ns, "tap0", netlink.TUNTAP_MODE_TAP)
	d := dropped(t)
	f := follow(t, d, ns, "tap0")
	f.wantMode(t, "tap0", ModeNative, "driver tun supports native XDP")
	for _, frame := range [][]byte{syn4(""), syn6(""), tagged(syn4(""), etherVLAN)} {
		wantCounted(t, d, "dropped", len(frame), func() { must(out.Write(frame)) })
	}
}

// The first part of a packet may be short, and the program reads on.
func TestShortFirstPart(t *testing.T) {
	// A tap device copies as much as the sender says into the first part
	// (struct virtio_net_hdr, hdr_len) and leaves the rest in pages.
	ns := newNamespace(t)
	ns.quiet(t)
	var out *os.File
	ns.do(t, func() {
		l := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR, Queues: 1, NonPersist: true}
		l.Name = "tap0"
		mustDo(t, netlink.LinkAdd(l))
		out = l.Fds[0]
	})
	t.Cleanup(func() { _ = out.Close() })
	ns.up(t, "tap0")
	d := only(dropped(t), trafficControl(t))
	follow(t, d, ns, "tap0")
	chain := []extension{{kind: protoHopByHop, length: 20}, {kind: protoDestination, length: 30}, {kind: protoRouting, length: 2}}
	for i, frame := range [][]byte{
		ip4{}.wrap(tcp{payload: 8000}.bytes()),
		ip6{extensions: chain}.wrap(tcp{payload: 8000}.bytes()),
	} {
		for _, first := range []byte{14, 20, 40, 60, 200} {
			t.Run(fmt.Sprintf("%d/%d", i, first), func(t *testing.T) {
				header := make([]byte, 10)
				header[2] = first
				wantCounted(t, d, "dropped", len(frame), func() { must(out.Write(append(header, frame...))) })
			})
		}
	}
}
