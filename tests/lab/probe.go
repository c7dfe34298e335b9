package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Probe keeps knocking: it sends one TCP SYN after another from one source
// to one port of the mail host, as whole Ethernet frames, and counts behind
// XDP what of them came through and what was answered. It tells whether
// enforcement ever has a gap. While a link is down it sends nothing.
type Probe struct {
	sent     atomic.Uint64
	through  atomic.Uint64 // SYNs that reached the mail host's stack
	answered atomic.Uint64 // SYN-ACKs that came back

	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of the sender; read after ended
	socks  []*os.File
}

// Sent, Through and Answered count SYNs sent, those the mail host's stack
// saw, and SYN-ACKs that came back.
func (p *Probe) Sent() uint64     { return p.sent.Load() }
func (p *Probe) Through() uint64  { return p.through.Load() }
func (p *Probe) Answered() uint64 { return p.answered.Load() }

// Probe starts knocking from an address at a port, once every interval.
func (l *Lab) Probe(from netip.Addr, port uint16, every time.Duration) (*Probe, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Probe{cancel: cancel, ended: make(chan struct{})}
	to := Mail4
	if from.Is6() {
		to = Mail6
	}
	hardware := map[string][]byte{}
	open := func(n *Namespace, name string) (*os.File, error) {
		var f *os.File
		err := n.Do(func() error {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			hardware[name] = link.Attrs().HardwareAddr
			f, err = packetSocket(link.Attrs().Index)
			return err
		})
		if err == nil {
			p.socks = append(p.socks, f)
		}
		return f, err
	}
	world, err := open(l.World, WorldInterface)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open probe: %w", err), p.close())
	}
	mail, err := open(l.Mail, Interface)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open probe: %w", err), p.close())
	}
	ether := append(append([]byte{}, hardware[Interface]...), hardware[WorldInterface]...)
	go count(mail, from, to, flagSYN, &p.through)
	go count(world, to, from, flagSYN|flagACK, &p.answered)
	go func() {
		defer close(p.ended)
		p.err = p.knock(ctx, world, ether, netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, port), every)
	}()
	return p, nil
}

// Stop ends the probe.
func (p *Probe) Stop() error {
	p.cancel()
	<-p.ended
	return errors.Join(p.err, p.close())
}

func (p *Probe) close() error {
	var errs []error
	for _, f := range p.socks {
		errs = append(errs, f.Close())
	}
	p.socks = nil
	return errors.Join(errs...)
}

func (p *Probe) knock(ctx context.Context, out *os.File, ether []byte, from, to netip.AddrPort, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := uint16(0); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		frame := synFrame(ether, netip.AddrPortFrom(from.Addr(), 20000+n%40000), to)
		_, err := out.Write(frame)
		if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENXIO) {
			continue // the link is down or away
		}
		if err != nil {
			return fmt.Errorf("send probe: %w", err)
		}
		p.sent.Add(1)
	}
}

// packetSocket opens a packet(7) socket on one interface. It reads what the
// interface received after XDP let it pass.
func packetSocket(index int) (*os.File, error) {
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind packet socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "packet"), nil
}

// count counts the TCP segments from one address to another whose SYN and
// ACK flags are exactly flags, until f is closed.
func count(f *os.File, from, to netip.Addr, flags byte, n *atomic.Uint64) {
	buf := make([]byte, 2048)
	for {
		size, err := f.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // once each time that the link goes down
		}
		if err != nil {
			return
		}
		src, dst, tcp := segment(buf[:size])
		if src == from && dst == to && len(tcp) > 13 && tcp[13]&(flagSYN|flagACK) == flags {
			n.Add(1)
		}
	}
}
