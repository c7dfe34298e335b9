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

// choose returns the interfaces that the selection means now, and what in it
// means none.
func choose(selection []string) (chosen []netlink.Link, missing []Attachment, err error) {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, nil, fmt.Errorf("list interfaces: %w", err)
	}
	slices.SortFunc(links, func(a, b netlink.Link) int { return strings.Compare(a.Attrs().Name, b.Attrs().Name) })

	picked := make(map[int]bool)
	for _, s := range selection {
		var routed map[int]bool
		if s == selectAuto {
			if routed, err = defaultRouted(); err != nil {
				return nil, nil, err
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
				chosen = append(chosen, l)
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

// defaultRouted returns the indexes of interfaces that a default route of the
// main table uses, IPv4 or IPv6.
func defaultRouted() (map[int]bool, error) {
	indexes := make(map[int]bool)
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := whole(func() ([]netlink.Route, error) { return netlink.RouteList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if !isDefault(&r) {
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

func isDefault(r *netlink.Route) bool {
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

// whole repeats a dump that was interrupted, by changes (NLM_F_DUMP_INTR) or
// by a signal: a host that starts containers changes its interfaces all the
// time, and what a partial list lacks would be detached.
func whole[T any](dump func() (T, error)) (T, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		result, err := dump()
		if !errors.Is(err, unix.EINTR) || pause > longestPause { // ErrDumpInterrupted is one, too
			return result, err
		}
		time.Sleep(pause)
	}
}
