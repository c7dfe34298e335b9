package loader

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// packetSocket opens a socket for whole frames on an interface.
func packetSocket(name string) int { return linkSocket(name, unix.SOCK_RAW, unix.ETH_P_ALL) }

// linkSocket opens a packet socket (packet(7)) of a type and for a protocol.
func linkSocket(name string, kind int, protocol uint16) int {
	protocol = protocol<<8 | protocol>>8
	fd := must(unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC, int(protocol)))
	index := must(netlink.LinkByName(name)).Attrs().Index
	must(0, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index}))
	return fd
}

// arrivals counts what reaches a namespace's IP stack, past XDP and past
// traffic control: a packet socket would see what the latter drops.
type arrivals struct{ flagged, clean atomic.Uint64 }

const (
	flaggedSource = "192.0.2.1"
	cleanSource   = "192.0.2.2"
	serverAddress = "192.0.2.25/24" // where frames go, and to frameTarget
)

// background runs f in a namespace until the test ends.
func (ns *namespace) background(t *testing.T, f func(stopped func() bool)) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ns.do(t, func() {
			f(func() bool {
				select {
				case <-stop:
					return true
				default:
					return false
				}
			})
		})
	}()
	t.Cleanup(func() { close(stop); <-done })
}

func (ns *namespace) arrivals(t *testing.T) *arrivals {
	t.Helper()
	a := &arrivals{}
	listening := make(chan struct{})
	ns.background(t, func(stopped func() bool) {
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP))
		defer unix.Close(fd)
		mustDo(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
		close(listening)
		packet := make([]byte, 128)
		for !stopped() {
			n, _, err := unix.Recvfrom(fd, packet, 0)
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				t.Errorf("listen: %v", err)
				return
			}
			if n < 20 {
				continue
			}
			switch packet[15] { // last byte of the source address
			case 1:
				a.flagged.Add(1)
			case 2:
				a.clean.Add(1)
			}
		}
	})
	<-listening
	return a
}

// serve gives an interface the addresses that frames of tests go to.
func (ns *namespace) serve(t *testing.T, name string) {
	t.Helper()
	ns.do(t, func() {
		mustDo(t, netlink.LinkSetHardwareAddr(must(netlink.LinkByName(name)), frameTarget))
	})
	ns.address(t, name, serverAddress)
}

// probe sends openings of a flagged and of a clean source for as long as the
// test runs, and counts what gets past the program.
type probe struct{ *arrivals }

func startProbe(t *testing.T, from *namespace, out string, to *namespace, in string) *probe {
	t.Helper()
	to.serve(t, in)
	p := &probe{to.arrivals(t)}
	from.flood(t, func() int { return packetSocket(out) }, syn4(flaggedSource), syn4(cleanSource))
	return p
}

// flood sends frames of two kinds, seven flagged ones for each clean one.
func (ns *namespace) flood(t *testing.T, socket func() int, flagged, clean []byte) {
	ns.background(t, func(stopped func() bool) {
		fd := socket()
		defer unix.Close(fd)
		for i := 0; !stopped(); i++ {
			frame := flagged
			if i%8 == 0 {
				frame = clean
				time.Sleep(50 * time.Microsecond) // leave others some of the machine
			}
			if _, err := unix.Write(fd, frame); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
				t.Errorf("send: %v", err)
				return
			}
		}
	})
}

// more waits until n more packets of the clean source got past.
func (p *arrivals) more(t *testing.T, n uint64) {
	t.Helper()
	goal := p.clean.Load() + n
	eventually(t, "clean packets arrive", func() bool { return p.clean.Load() >= goal })
}

// However often the agent stops, starts, is upgraded with or without a new
// layout: nothing flagged gets past, wherever the program stands.
func TestRestartAndUpgradeLeaveNoGap(t *testing.T) {
	for _, mode := range []string{ModeNative, ModeGeneric, ModeTCX, ModeClsact} {
		t.Run(mode, func(t *testing.T) {
			if mode == ModeTCX && trafficControl(t) != placeTCX {
				return // this kernel has none
			}
			host, net := newNamespace(t), newNamespace(t)
			veth(t, host, "eth0", net, "net0")
			o := testOptions(t)
			drop := Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}
			start := func(layout int) *Datapath {
				t.Helper()
				d, err := open(o, clocksOf(o.Now), otherLayout(layout))
				mustDo(t, err)
				t.Cleanup(func() { _ = d.Close() })
				switch mode {
				case ModeTCX:
					return only(d, placeTCX)
				case ModeClsact:
					return only(d, placeClsact)
				}
				return d
			}

			d := start(0)
			mustDo(t, d.Put(drop))
			if mode == ModeGeneric {
				host.do(t, func() {
					mustDo(t, must(d.hang(rung{ModeGeneric, placeXDP, link.XDPGenericMode}, must(netlink.LinkByName("eth0")))).release())
				})
			}
			f := follow(t, d, host, "eth0")
			f.wantMode(t, "eth0", mode, "")
			p := startProbe(t, net, "net0", host, "eth0")

			layouts := make(map[string]bool)
			for i := range 9 {
				p.more(t, 10)
				f.stop()
				mustDo(t, d.Close())
				p.more(t, 10)
				d = start(i / 3)
				layouts[d.layout] = true
				if got := must(d.objects.Counters.Info()); int(got.MaxEntries) != len(d.exits)+i/3 {
					t.Errorf("layout %d has %d counters", i/3, got.MaxEntries)
				}
				mustDo(t, d.Put(drop))
				p.more(t, 10)
				f = follow(t, d, host, "eth0")
				f.wantMode(t, "eth0", mode, "")
			}
			p.more(t, 10)
			if n := p.flagged.Load(); n != 0 {
				t.Errorf("%d flagged packets got past", n)
			}
			if len(layouts) != 3 {
				t.Errorf("%d layouts, want 3", len(layouts))
			}
			e, _, err := d.Get(drop.Prefix)
			t.Logf("%d clean packets passed, %d flagged ones dropped since the last layout (%v)", p.clean.Load(), e.Dropped, err)

			// The probe can tell: without the program they arrive.
			f.stop()
			host.do(t, func() { mustDo(t, d.Remove()) })
			eventually(t, "flagged packets arrive once the program is gone", func() bool { return p.flagged.Load() > 0 })
		})
	}
}

// otherLayout makes a program whose maps another version cannot use: there
// are more exits to count, and the tables have other sizes, so that the
// program finds sources elsewhere.
func otherLayout(version int) func(*ebpf.CollectionSpec) error {
	return func(s *ebpf.CollectionSpec) error {
		s.Maps[datapathMapCounters].MaxEntries += uint32(version)
		for _, name := range []string{
			datapathMapVerdicts4, datapathMapSieve4, datapathMapMarks4, datapathMapCounts4,
			datapathMapVerdicts6, datapathMapSieve6, datapathMapMarks6, datapathMapCounts6,
			datapathMapUnmarked4, datapathMapUnmarked6,
		} {
			s.Maps[name].MaxEntries <<= version
		}
		s.Maps[datapathMapPrefixes4].MaxEntries += uint32(version)
		return nil
	}
}
