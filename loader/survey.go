package loader

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Surveyed is what can be seen of an interface without touching it.
type Surveyed struct {
	Name    string
	Index   int    // 0: there is no such interface, and Why says what that means
	Kind    string // as ip -d link shows it
	Driver  string // "" if it does not tell
	Up      bool
	MTU     int      // bytes
	Queues  int      // of receiving, 0 if it does not tell
	Joins   []string // offloads that are on and join packets: rx-lro, rx-gro-hw
	Program string
	Ours    bool     // Program is weir's
	Behind  []string // other programs at its TCX ingress, as far as they may be seen

	// Expected is the mode in which the program would be attached, "" where
	// only attaching can tell; Why says why not a better one, with remedies.
	Expected string
	Why      []string
}

// Survey looks at the interfaces that a selection means now, as Follow would
// choose them. It needs no privilege, and sees more with CAP_SYS_ADMIN: whose
// programs are there.
func Survey(selection []string) ([]Surveyed, error) {
	chosen, missing, err := choose(selection)
	if err != nil {
		return nil, err
	}
	var all []Surveyed
	for _, c := range chosen {
		all = append(all, survey(c))
	}
	for _, m := range missing {
		all = append(all, Surveyed{Name: m.Interface, Expected: ModeNone, Why: []string{m.Reason}})
	}
	return all, nil
}

func survey(c choice) Surveyed {
	attrs := c.Attrs()
	channels := channelsOf(attrs.Name)
	s := Surveyed{
		Name: attrs.Name, Index: attrs.Index, Kind: c.Type(), Driver: driver(c), Up: attrs.OperState == netlink.OperUp || attrs.OperState == netlink.OperUnknown,
		MTU: attrs.MTU, Queues: max(channels.rx+channels.combined, attrs.NumRxQueues),
	}
	features := featuresOf(attrs.Name)
	for _, name := range []string{"rx-lro", "rx-gro-hw"} {
		if features[name].on {
			s.Joins = append(s.Joins, name)
		}
	}
	if x := attrs.Xdp; x != nil && x.Attached {
		s.Program = programName(x.ProgId)
		s.Ours = isOurs(s.Program, datapathProgWeirXdp)
	}
	for _, id := range tcxPrograms(attrs.Index) {
		if name := programName(uint32(id)); !isOurs(name, datapathProgWeirTc, datapathProgWeirTcBare, datapathProgWeirSend) {
			s.Behind = append(s.Behind, name)
		}
	}
	s.Expected, s.Why = expect(c.Link, s.Ours)
	if c.note != "" {
		s.Why = append(s.Why, c.note)
	}
	s.Why = append(s.Why, neighbours(c)...)
	return s
}

// isOurs reads what programName wrote. The kernel keeps 15 characters.
func isOurs(name string, ours ...string) bool {
	name, _, named := strings.Cut(name, ", id ")
	for _, o := range ours {
		if named && name == o[:min(len(o), unix.BPF_OBJ_NAME_LEN-1)] {
			return true
		}
	}
	return false
}

// expect tells the rung that will hold, from what the kernel says that the
// driver can (linux/netdev.h, from 6.3 on).
func expect(l netlink.Link, ours bool) (mode string, why []string) {
	controlled := ModeClsact
	if HaveTCX() {
		controlled = ModeTCX
	}
	xdp := rung{where: placeXDP}
	switch obstacle := xdp.obstacle(l); {
	case !isBare(l) && !isEthernet(l):
		return ModeNone, []string{obstacle}
	case obstacle != "" && !ours:
		return controlled, []string{obstacle}
	}
	features, known := xdpFeatures(l.Attrs().Index)
	f := factsOf(l, unix.EOPNOTSUPP, "")
	switch {
	case !known:
		return "", []string{"whether the driver supports native XDP is told from Linux 6.3 on; before, attaching finds out"}
	case features&xdpBasic == 0 && !f.features["rx-lro"].on && !f.features["rx-gro-hw"].on:
		return ModeGeneric, []string{f.who() + " has no native XDP"}
	}
	if g := f.features["rx-gro-hw"]; g.on && g.fixed {
		return ModeGeneric, []string{fixedOffload}
	}
	words := f.inTheWay(features)
	if features&xdpBasic == 0 {
		return ModeGeneric, append([]string{f.who() + " offers no native XDP as it is set"}, words...)
	}
	return ModeNative, words
}

// inTheWay names what commonly keeps a driver from native XDP that it has.
func (f facts) inTheWay(features uint64) (out []string) {
	const may = "the driver may refuse native XDP: "
	if f.features["rx-lro"].on {
		out = append(out, fmt.Sprintf("%sreceive offload joins packets: ethtool -K %s lro off", may, f.name))
	}
	if g := f.features["rx-gro-hw"]; g.on && !g.fixed {
		out = append(out, fmt.Sprintf("%sreceive offload joins packets: ethtool -K %s rx-gro-hw off", may, f.name))
	}
	if f.mtu > pageMTU && features&xdpBuffers == 0 {
		out = append(out, fmt.Sprintf("%sits MTU is %d: ip link set dev %s mtu %d", may, f.mtu, f.name, plainMTU))
	}
	return out
}

// Bits of NETDEV_A_DEV_XDP_FEATURES, and the MTU up to which a frame has room
// on one page, with what drivers put around it.
const (
	xdpBasic   = 1 << 0 // NETDEV_XDP_ACT_BASIC
	xdpBuffers = 1 << 5 // NETDEV_XDP_ACT_RX_SG: frames of several buffers

	netdevGetDevice   = 1 // NETDEV_CMD_DEV_GET
	netdevIndex       = 1 // NETDEV_A_DEV_IFINDEX
	netdevXDPFeatures = 3 // NETDEV_A_DEV_XDP_FEATURES

	pageMTU = 3000
)

// xdpFeatures asks the kernel what a driver can of XDP.
func xdpFeatures(index int) (features uint64, known bool) {
	family, err := netlink.GenlFamilyGet("netdev")
	if err != nil {
		return 0, false
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	req.AddData(genericHeader{netdevGetDevice, 1})
	req.AddData(nl.NewRtAttr(netdevIndex, nl.Uint32Attr(uint32(index))))
	messages, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil || len(messages) == 0 || len(messages[0]) < nl.SizeofGenlmsg {
		return 0, false
	}
	attributes, err := nl.ParseRouteAttr(messages[0][nl.SizeofGenlmsg:])
	if err != nil {
		return 0, false
	}
	for _, a := range attributes {
		if a.Attr.Type == netdevXDPFeatures && len(a.Value) >= 8 {
			return binary.NativeEndian.Uint64(a.Value), true
		}
	}
	return 0, false
}

// genericHeader is struct genlmsghdr: command, version, and two bytes that must
// be zero, which nl.Genlmsg takes from wherever they are.
type genericHeader [nl.SizeofGenlmsg]byte

func (h genericHeader) Len() int          { return len(h) }
func (h genericHeader) Serialize() []byte { return h[:] }

// HaveTCX reports whether the kernel has TCX. Who may not ask is answered by
// the kernel's release.
func HaveTCX() bool {
	if missing, err := MissingCapabilities(); err != nil || len(missing) > 0 {
		return AtLeast(Release(), 6, 6)
	}
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress}) // the loopback's index
	return err == nil
}

// Release is the running kernel's, as uname -r says it.
func Release() string { return release() }

// AtLeast compares a kernel's release with a version.
func AtLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// MissingCapabilities names those that enforcement needs and the calling
// thread lacks.
func MissingCapabilities() (missing []string, err error) {
	caps, err := effectiveCapabilities()
	if err != nil {
		return nil, err
	}
	all := caps&(1<<unix.CAP_SYS_ADMIN) != 0
	for _, c := range []struct {
		name     string
		bit      int
		included bool // in CAP_SYS_ADMIN
	}{{"CAP_BPF", unix.CAP_BPF, true}, {"CAP_PERFMON", unix.CAP_PERFMON, true}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, false}} {
		if caps&(1<<c.bit) == 0 && !(c.included && all) {
			missing = append(missing, c.name)
		}
	}
	return missing, nil
}

// TryProgram loads the program as Open does, on small maps that nobody sees,
// and lets go of it: nil says that this kernel takes it. Errors:
// [ErrPermission], [ErrUnsupported].
func TryProgram() error {
	if err := checkKernel(); err != nil {
		return err
	}
	spec, err := loadDatapath()
	if err != nil {
		return err
	}
	sizeMaps(spec, 1)
	if err := setConstants(spec, newKey()); err != nil {
		return err
	}
	var objects datapathObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return fmt.Errorf("load program: %w", explain(err))
	}
	return objects.Close()
}

// TryDestroy asks to close a session that cannot be, one of port 0: nil says
// that the kernel closes sessions. Errors: [ErrPermission], [ErrUnsupported]
// (a kernel without CONFIG_INET_DIAG_DESTROY).
func TryDestroy() error {
	_, err := destroy(unix.AF_INET, []diagID{{}})
	return err
}

// OnBPFFS reports whether a folder is, or would be made, on a BPF file system.
func OnBPFFS(dir string) (bool, error) { return isBPFFS(dir) }
