package loader

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// selectAuto stands for the interfaces that carry a default route.
const selectAuto = "auto"

func validateSelection(selection []string) error {
	if len(selection) == 0 {
		return errors.New("no interfaces selected: name some, or use \"auto\"")
	}
	for _, s := range selection {
		if _, err := path.Match(s, ""); err != nil {
			return fmt.Errorf("interface pattern %q: %w", s, err)
		}
	}
	return nil
}

// choice is an interface that the selection means.
type choice struct {
	netlink.Link
	note string // why this one, where that is not plain
}

// choose returns the interfaces that the selection means now, and what in it
// means none.
func choose(selection []string) (chosen []choice, missing []Attachment, err error) {
	links, err := WholeDump(netlink.LinkList)
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces: %w", err)
	}
	slices.SortFunc(links, func(a, b netlink.Link) int { return strings.Compare(a.Attrs().Name, b.Attrs().Name) })

	picked := make(map[int]bool)
	for _, s := range selection {
		routed, notes := make(map[int]bool), make(map[int]string)
		if s == selectAuto {
			indexes, err := defaultRouted()
			if err != nil {
				return nil, nil, err
			}
			for index := range indexes {
				below, note := beneath(links, index)
				routed[below], notes[below] = true, note
			}
		}
		var found bool
		for _, l := range links {
			attrs := l.Attrs()
			if !routed[attrs.Index] && (s == selectAuto || !matches(s, attrs)) {
				continue
			}
			found = true
			if !picked[attrs.Index] {
				picked[attrs.Index] = true
				chosen = append(chosen, choice{l, notes[attrs.Index]})
			}
		}
		if !found {
			missing = append(missing, Attachment{Interface: s, Mode: ModeNone, Reason: whyMissing(s)})
		}
	}
	return chosen, missing, nil
}

// matches: a name means its interface, a pattern all that match except the
// loopback, which carries no mail from outside.
func matches(s string, attrs *netlink.LinkAttrs) bool {
	if s == attrs.Name {
		return true
	}
	ok, err := path.Match(s, attrs.Name)
	return err == nil && ok && attrs.Flags&net.FlagLoopback == 0
}

func whyMissing(s string) string {
	switch {
	case s == selectAuto:
		return "no interface carries a default route; attached when one does"
	case strings.ContainsAny(s, `*?[\`):
		return "no interface matches; attached when one does"
	}
	return "no such interface; attached when it appears"
}

// beneath returns the interface that stands below a VLAN device, if nothing
// but VLAN devices of this host stand on it: the program reads tags, and a NIC
// drops what a VLAN device would have had to make a packet of. A bridge or a
// macvlan device shares what is below it with others, whose mail is none of
// our business; a bond passes XDP on to its parts by itself.
func beneath(links []netlink.Link, index int) (below int, note string) {
	find := func(index int) netlink.Link {
		i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == index })
		if i < 0 {
			return nil
		}
		return links[i]
	}
	top, below := find(index), index
	for range maxTags {
		l := find(below)
		if l == nil || l.Type() != "vlan" || l.Attrs().MasterIndex != 0 || l.Attrs().NetNsID >= 0 {
			break
		}
		parent := find(l.Attrs().ParentIndex)
		if parent == nil || !isEthernet(parent) || parent.Attrs().MasterIndex != 0 || isShared(links, parent) {
			break
		}
		below = parent.Attrs().Index
		note = fmt.Sprintf("it carries %s, over which the default route goes", top.Attrs().Name)
	}
	return below, note
}

// maxTags is how many VLAN tags the program reads (VLAN_TAGS in packet.h).
const maxTags = 2

// isShared tells that more than our own VLAN devices stand on an interface, as
// far as can be seen: those in other namespaces cannot.
func isShared(links []netlink.Link, l netlink.Link) bool {
	if l.Type() == "bridge" {
		return true
	}
	return slices.ContainsFunc(links, func(on netlink.Link) bool {
		return on.Attrs().ParentIndex == l.Attrs().Index && on.Attrs().NetNsID < 0 && on.Attrs().Index != l.Attrs().Index &&
			(on.Type() != "vlan" || on.Attrs().MasterIndex != 0)
	})
}

// defaultRouted returns the indexes of interfaces that a default route of the
// main table uses, IPv4 or IPv6.
func defaultRouted() (map[int]bool, error) {
	indexes := make(map[int]bool)
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := WholeDump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if !IsDefaultRoute(&r) {
				continue
			}
			indexes[r.LinkIndex] = true
			for _, hop := range r.MultiPath {
				indexes[hop.LinkIndex] = true
			}
		}
	}
	return indexes, nil
}

// IsDefaultRoute reports whether r leads to all of a family.
func IsDefaultRoute(r *netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && r.Dst.IP.IsUnspecified()
}

// longestPause ends the repeating of a dump: about a second after it began.
const longestPause = 512 * time.Millisecond

// WholeDump repeats a dump that was interrupted, by changes (NLM_F_DUMP_INTR) or
// by a signal: a host that starts containers changes its interfaces all the
// time, and what a partial list lacks would be taken for gone.
func WholeDump[T any](dump func() (T, error)) (T, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		result, err := dump()
		if !errors.Is(err, unix.EINTR) || pause > longestPause { // ErrDumpInterrupted is one, too
			return result, err
		}
		time.Sleep(pause)
	}
}
