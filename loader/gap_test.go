package loader

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// packetSocket opens a socket for whole frames on an interface.
func packetSocket(name string) int {
	all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
	fd := must(unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)))
	index := must(netlink.LinkByName(name)).Attrs().Index
	must(0, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}))
	return fd
}

// probe sends openings of a flagged and of a clean source for as long as the
// test runs, and counts what gets past the program.
type probe struct{ flagged, clean atomic.Uint64 }

const (
	flaggedSource = "192.0.2.1"
	cleanSource   = "192.0.2.2"
)

func startProbe(t *testing.T, from *namespace, out string, to *namespace, in string) *probe {
	p := &probe{}
	stop := make(chan struct{})
	done := make(chan struct{}, 2)
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	listening := make(chan struct{})
	go to.do(t, func() {
		defer func() { done <- struct{}{} }()
		fd := packetSocket(in)
		defer unix.Close(fd)
		mustDo(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
		close(listening)
		frame := make([]byte, 128)
		for !stopped() {
			n, _, err := unix.Recvfrom(fd, frame, 0)
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				t.Errorf("listen: %v", err)
				return
			}
			if n < 30 {
				continue
			}
			switch frame[29] { // last byte of the source address
			case 1:
				p.flagged.Add(1)
			case 2:
				p.clean.Add(1)
			}
		}
	})
	<-listening
	go from.do(t, func() {
		defer func() { done <- struct{}{} }()
		fd := packetSocket(out)
		defer unix.Close(fd)
		flagged, clean := syn4(flaggedSource), syn4(cleanSource)
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
	t.Cleanup(func() { close(stop); <-done; <-done })
	return p
}

// more waits until n more packets of the clean source got past.
func (p *probe) more(t *testing.T, n uint64) {
	t.Helper()
	goal := p.clean.Load() + n
	eventually(t, "clean packets arrive", func() bool { return p.clean.Load() >= goal })
}

// However often the agent stops, starts, is upgraded with or without a new
// layout: nothing flagged gets past.
func TestRestartAndUpgradeLeaveNoGap(t *testing.T) {
	for _, mode := range []string{ModeNative, ModeGeneric} {
		t.Run(mode, func(t *testing.T) {
			host, net := newNamespace(t), newNamespace(t)
			veth(t, host, "eth0", net, "net0")
			o := testOptions(t)
			drop := Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}

			d := mustOpen(t, o)
			mustDo(t, d.Put(drop))
			if mode == ModeGeneric {
				host.do(t, func() {
					index := must(netlink.LinkByName("eth0")).Attrs().Index
					l := must(link.AttachXDP(link.XDPOptions{Program: d.objects.WeirXdp, Interface: index, Flags: link.XDPGenericMode}))
					mustDo(t, l.Pin(d.pins.linkPath(index)))
					mustDo(t, l.Close())
				})
			}
			f := follow(t, d, host, "eth0")
			f.wantMode(t, "eth0", mode, "")
			p := startProbe(t, net, "net0", host, "eth0")

			for i := range 15 {
				p.more(t, 10)
				f.stop()
				mustDo(t, d.Close())
				p.more(t, 10)
				if i%3 == 0 {
					o.Capacity++ // another layout
				}
				d = mustOpen(t, o)
				mustDo(t, d.Put(drop))
				p.more(t, 10)
				f = follow(t, d, host, "eth0")
				f.wantMode(t, "eth0", mode, "")
			}
			p.more(t, 10)
			if n := p.flagged.Load(); n != 0 {
				t.Errorf("%d flagged packets got past", n)
			}
			e, _, err := d.Get(drop.Prefix)
			t.Logf("%d clean packets passed, %d flagged ones dropped since the last layout (%v)", p.clean.Load(), e.Dropped, err)

			// The probe can tell: without the program they arrive.
			f.stop()
			mustDo(t, d.Remove())
			eventually(t, "flagged packets arrive once the program is gone", func() bool { return p.flagged.Load() > 0 })
		})
	}
}
