package live

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is the host's end of the link; the world's is worldInterface.
const (
	Interface      = "eth0"
	worldInterface = "world0"
)

// Addresses of the host.
var (
	host4 = netip.MustParseAddr("192.0.2.25")
	host6 = netip.MustParseAddr("2001:db8::25")
)

// Link is a veth pair between two namespaces.
type Link struct {
	Host  Place // where the contenders stand
	world Place // where the traffic comes from

	Index    int // of the host's end
	worldEnd int
	hardware net.HardwareAddr // of the host's end

	made []*Namespace // end with the link
}

// NewLink makes two namespaces and a link between them. It needs root.
func NewLink() (_ *Link, err error) {
	l := &Link{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for range 2 {
		n, err := newNamespace()
		if err != nil {
			return nil, err
		}
		l.made = append(l.made, n)
		if err := n.Do(prepare); err != nil {
			return nil, err
		}
	}
	host, world := l.made[0], l.made[1]
	if err := host.Do(func() error { return makePair(world) }); err != nil {
		return nil, err
	}
	err = world.Do(func() error {
		end, err := netlink.LinkByName(worldInterface)
		if err != nil {
			return fmt.Errorf("find %s: %w", worldInterface, err)
		}
		if err := up(end); err != nil {
			return err
		}
		return enableGRO(worldInterface) // for what is sent back; before it is up, it does nothing for the other end
	})
	if err != nil {
		return nil, err
	}
	return l, l.join(host, world, worldInterface)
}

// Join takes a veth pair that others have made, between two namespaces in
// which it is called [Interface] and worldEnd. The host's address must be
// 192.0.2.25.
func Join(host, world Place, worldEnd string) (*Link, error) {
	l := &Link{}
	return l, l.join(host, world, worldEnd)
}

// join remembers both ends of a pair.
func (l *Link) join(host, world Place, worldEnd string) error {
	l.Host, l.world = host, world
	err := host.Do(func() error {
		end, err := netlink.LinkByName(Interface)
		if err != nil {
			return fmt.Errorf("find %s: %w", Interface, err)
		}
		l.Index, l.hardware = end.Attrs().Index, end.Attrs().HardwareAddr
		// Without it, veth takes no frames from a program unless there is a
		// program at this end.
		return enableGRO(Interface)
	})
	if err != nil {
		return err
	}
	return world.Do(func() error {
		end, err := netlink.LinkByName(worldEnd)
		if err != nil {
			return fmt.Errorf("find %s: %w", worldEnd, err)
		}
		l.worldEnd = end.Attrs().Index
		return nil
	})
}

// makePair adds the pair and sets up the host's end.
func makePair(world *Namespace) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Interface
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: worldInterface, PeerNamespace: netlink.NsFd(world.net.Fd())}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	end, err := netlink.LinkByName(Interface)
	if err != nil {
		return fmt.Errorf("find %s: %w", Interface, err)
	}
	for _, address := range []netip.Prefix{netip.PrefixFrom(host4, 24), netip.PrefixFrom(host6, 64)} {
		a, err := netlink.ParseAddr(address.String())
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(end, a); err != nil {
			return fmt.Errorf("add %s: %w", address, err)
		}
	}
	return up(end)
}

// SetQueues gives both ends as many queues each way.
func (l *Link) SetQueues(n uint32) error {
	for _, end := range []struct {
		place Place
		index int
	}{{l.world, l.worldEnd}, {l.Host, l.Index}} {
		err := end.place.Do(func() error {
			found, err := netlink.LinkByIndex(end.index)
			if err != nil {
				return err
			}
			return setQueues(found.Attrs().Name, n)
		})
		if err != nil {
			return fmt.Errorf("set queues: %w", err)
		}
	}
	return nil
}

// Close ends the namespaces that were made for the link, and it with them.
func (l *Link) Close() error {
	var errs []error
	for _, n := range l.made {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// prepare keeps the kernel from sending of its own, and from refusing sources
// that it has no route to (rp_filter).
func prepare() error {
	for name, value := range map[string]string{
		"net/ipv4/conf/all/rp_filter":                             "0",
		"net/ipv4/conf/default/rp_filter":                         "0",
		"net/ipv6/conf/default/accept_dad":                        "0",
		"net/ipv6/conf/default/accept_ra":                         "0",
		"net/ipv6/conf/default/addr_gen_mode":                     "1",
		"net/ipv6/conf/default/mldv1_unsolicited_report_interval": "0",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl %s: %w", name, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	return up(lo)
}

func up(l netlink.Link) error {
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring %s up: %w", l.Attrs().Name, err)
	}
	return nil
}

// NIC is what the host's end has counted.
type NIC struct {
	Arrived uint64 // frames
	Dropped uint64 // by an XDP program
}

// Statistics reads the counters of the host's end, summed over its queues.
func (l *Link) Statistics() (n NIC, err error) {
	err = l.Host.Do(func() error {
		n.Arrived, n.Dropped = 0, 0
		return eachStatistic(Interface, func(name string, value uint64) {
			if ok, _ := filepath.Match("rx_queue_*_xdp_packets", name); ok {
				n.Arrived += value
			}
			if ok, _ := filepath.Match("rx_queue_*_xdp_drops", name); ok {
				n.Dropped += value
			}
		})
	})
	return n, err
}

// ifname is an interface's name as an ioctl takes it.
func ifname(name string) (b [unix.IFNAMSIZ]byte) {
	copy(b[:unix.IFNAMSIZ-1], name)
	return b
}

// Attach puts an XDP program on the host's end, in its driver.
func (l *Link) Attach(p *ebpf.Program) (detach func() error, err error) {
	var attached link.Link
	err = l.Host.Do(func() (err error) {
		attached, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: l.Index, Flags: link.XDPDriverMode})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach program: %w", err)
	}
	return attached.Close, nil
}
