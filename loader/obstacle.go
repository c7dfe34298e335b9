package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isBare tells an interface whose packets begin with the IP header: it has no
// link layer, or takes it off before anybody sees the packet (PPP, tunnels).
func isBare(l netlink.Link) bool {
	switch l.Attrs().EncapType {
	case "none", "ppp", "ipip", "tunnel6", "sit", "gre",
		"unknown519", // ARPHRD_RAWIP
		"unknown823": // ARPHRD_IP6GRE
		return true
	}
	return false
}

func isEthernet(l netlink.Link) bool {
	return l.Attrs().EncapType == "ether" || l.Attrs().EncapType == "loopback"
}

// obstacle tells why a rung need not be tried on an interface, "" if it may.
// An XDP program on an interface without a link layer is let attach, and then
// finds the IP header where it looks for Ethernet.
func (r rung) obstacle(l netlink.Link) string {
	attrs := l.Attrs()
	switch {
	case !isBare(l) && !isEthernet(l):
		return fmt.Sprintf("%s has a link layer that weir cannot read (%s)", attrs.Name, attrs.EncapType)
	case r.where != placeXDP:
	case isBare(l):
		return fmt.Sprintf("an interface of kind %s has no link layer that XDP could read", l.Type())
	case attrs.Xdp != nil && attrs.Xdp.Attached:
		return fmt.Sprintf("another XDP program (%s) holds %s and is left alone", programName(attrs.Xdp.ProgId), attrs.Name)
	}
	return ""
}

// programName says which program this is, as far as we may know: its name is
// for CAP_SYS_ADMIN alone.
func programName(id uint32) string {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return fmt.Sprintf("id %d", id)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Name == "" {
		return fmt.Sprintf("id %d", id)
	}
	return fmt.Sprintf("%s, id %d", info.Name, id)
}

// neighbours tells what else is judged where the program stands.
func neighbours(l netlink.Link) []string {
	if l.Attrs().MasterIndex == 0 {
		return nil
	}
	switch master, err := netlink.LinkByIndex(l.Attrs().MasterIndex); {
	case err != nil: // it is just going
		return nil
	case master.Type() == "bridge":
		return []string{fmt.Sprintf("a port of bridge %s: what that forwards to others is judged, too", master.Attrs().Name)}
	default:
		return []string{fmt.Sprintf("part of %s %s", master.Type(), master.Attrs().Name)}
	}
}

// bare is the system's error without the layers it came through.
func bare(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
