package protect

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader"
	"weir/userspace/mailconf"
)

// Kinds of those who are protected, as the configuration names them.
const (
	Own            = "own"
	Gateways       = "gateways"
	Administrators = "administrators"
	Proxies        = "proxies"
)

// Kinds returns all of them.
func Kinds() []string { return []string{Own, Gateways, Administrators, Proxies} }

// One is somebody who must not be shut out.
type One struct {
	Prefix netip.Prefix
	Reason string // who that is, for operators
}

// linger is how long an administrator is remembered after logging out.
const linger = time.Hour

// Finder finds them, and remembers who was logged in lately.
type Finder struct {
	Kinds    []string
	Sessions string // folder of systemd-logind; see DefaultSessions
	FS       fs.FS  // the root folder, for the configuration of mail servers

	seen   map[netip.Addr]lastSeen
	trust  []mailconf.Trust
	looked time.Time // for those
}

type lastSeen struct {
	at     time.Time
	reason string
}

// Find returns who is to be protected at now in the network namespace of the
// process, each once. With an error it returns those it has found.
func (f *Finder) Find(now time.Time) ([]One, error) {
	names, err := linkNames()
	var found []One
	errs := []error{err}
	for _, kind := range f.Kinds {
		var more []One
		var err error
		switch kind {
		case Own:
			more, err = own(names)
		case Gateways:
			more, err = gateways(names)
		case Administrators:
			more, err = f.administrators(now)
		case Proxies:
			more = f.proxies(now)
		}
		found, errs = append(found, more...), append(errs, err)
	}
	slices.SortStableFunc(found, func(a, b One) int { return a.Prefix.Compare(b.Prefix) })
	return slices.CompactFunc(found, func(a, b One) bool { return a.Prefix == b.Prefix }), errors.Join(errs...)
}

// own returns the host's addresses, without the loopback's: nothing comes from
// those through an interface that is protected.
func own(names map[int]string) (found []One, err error) {
	list, err := loader.WholeDump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && usable(addr) {
			found = append(found, One{host(addr), "the host's own address, on " + names[a.LinkIndex]})
		}
	}
	return found, nil
}

// gateways returns the next hops of default routes in every table.
func gateways(names map[int]string) (found []One, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		routes, err := loader.WholeDump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return found, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Type != unix.RTN_UNICAST || !loader.IsDefaultRoute(&r) {
				continue
			}
			hops := append(r.MultiPath, &netlink.NexthopInfo{LinkIndex: r.LinkIndex, Gw: r.Gw, Via: r.Via})
			for _, hop := range hops {
				if addr, ok := hopAddr(hop); ok && usable(addr) {
					found = append(found, One{host(addr), "the default gateway, on " + names[hop.LinkIndex]})
				}
			}
		}
	}
	return found, nil
}

// hopAddr returns the address of a next hop; an IPv4 route may have an IPv6 one
// (RTA_VIA, RFC 5549).
func hopAddr(hop *netlink.NexthopInfo) (netip.Addr, bool) {
	if via, ok := hop.Via.(*netlink.Via); ok && via != nil {
		return netip.AddrFromSlice(via.Addr)
	}
	return netip.AddrFromSlice(hop.Gw)
}

// host is an address alone.
func host(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

func usable(a netip.Addr) bool { return !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() }

func linkNames() (map[int]string, error) {
	links, err := loader.WholeDump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}
