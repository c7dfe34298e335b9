package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// facts are what is known about an interface whose driver refused native XDP.
type facts struct {
	name     string
	driver   string // "" if it does not tell
	kind     string // of interface, as ip -d link shows it
	err      error
	said     string // by the driver, in its own words; "" if it says nothing
	mtu      int
	features map[string]feature // none: it does not tell
	channels channels
}

func factsOf(l netlink.Link, err error, said string) facts {
	attrs := l.Attrs()
	return facts{
		name: attrs.Name, driver: driver(l), kind: l.Type(), err: err, said: said, mtu: attrs.MTU,
		features: featuresOf(attrs.Name), channels: channelsOf(attrs.Name),
	}
}

// plainMTU is what a frame of one page has room for, whatever the driver.
const plainMTU = 1500

// fixedOffload is said where the kernel cannot have an offload switched off.
const fixedOffload = "the hypervisor joins packets, and the guest cannot ask it not to: take the offload away there (QEMU: guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_csum=off)"

// noNative is what the kernel says for a driver that knows no XDP.
const noNative = "does not support XDP"

// words says what was refused and what can be done about it. What the driver
// says is meant for people and tells more than the error does; where it says
// nothing, what commonly is in the way is named if it is there.
func (f facts) words() []string {
	mentions := func(any ...string) bool {
		for _, s := range any {
			if strings.Contains(strings.ToLower(f.said), s) {
				return true
			}
		}
		return false
	}
	silent := f.said == ""
	if mentions("driver "+strings.ToLower(noNative)) || silent && f.features == nil && errors.Is(f.err, unix.EOPNOTSUPP) {
		return []string{f.who() + " has no native XDP"}
	}
	refused := fmt.Sprintf("%s refused native XDP (%v)", f.who(), f.err)
	if !silent {
		refused = fmt.Sprintf("%s refused native XDP (%q)", f.who(), strings.TrimPrefix(f.said, f.driver+": "))
	}
	out := []string{refused}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }

	if f.kind == "bond" {
		switch {
		case mentions("bonding mode", "bond mode"):
			add("native XDP works in the modes balance-rr, active-backup, balance-xor and 802.3ad, the latter two without xmit_hash_policy vlan+srcmac")
		case mentions("slave"):
			add("each of its slaves must support native XDP and carry no XDP program of its own")
		}
		return out
	}
	if mentions("mtu", "single page", "too large", "larger than") || silent && f.mtu > plainMTU {
		add("its MTU is %d: ip link set dev %s mtu %d", f.mtu, f.name, plainMTU)
	}
	if mentions("lro", "large receive") || silent && f.features["rx-lro"].on {
		add("receive offload joins packets: ethtool -K %s lro off", f.name)
	}
	if mentions("gro_hw", "gro-hw", "hw-gro", "hw gro", "shampo") || silent && f.features["rx-gro-hw"].on {
		if f.features["rx-gro-hw"].fixed {
			out = append(out, fixedOffload)
		} else {
			add("receive offload joins packets: ethtool -K %s rx-gro-hw off", f.name)
		}
	}
	if mentions("tx ring", "queue", "channel") || silent && (errors.Is(f.err, unix.ENOMEM) || errors.Is(f.err, unix.ENOSPC)) {
		out = append(out, f.queueWords()...)
	}
	return out
}

func (f facts) who() string {
	if f.driver == "" {
		return f.name
	}
	return "driver " + f.driver
}

// queueWords: a driver may want a transmit queue of its own for each CPU or
// receive queue, so half of what there can be is to be used.
func (f facts) queueWords() []string {
	c := f.channels
	switch {
	case c.maxCombined > 1:
		return []string{fmt.Sprintf("XDP needs transmit queues of its own, and %d of %d are in use: ethtool -L %s combined %d, or more queues from the hypervisor",
			c.combined, c.maxCombined, f.name, max(c.maxCombined/2, 1))}
	case c.maxRX > c.rx:
		return []string{fmt.Sprintf("it has %d receive queues of %d: ethtool -L %s rx %d", c.rx, c.maxRX, f.name, c.maxRX)}
	case f.kind == "veth":
		return []string{fmt.Sprintf("it has too few receive queues for its peer: make it with as many as that has transmit queues (ip link add %s numrxqueues N)", f.name)}
	}
	return []string{"XDP needs transmit queues of its own, and there are too few: give the machine more queues"}
}

// driverWords asks the driver once more, in a way that lets it say why it
// refuses: making a link tells an error alone. It returns "" if nothing is
// said. Should the program be taken this time, it is taken off again.
func driverWords(l netlink.Link, p *ebpf.Program) string {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing: an own socket
	if err != nil {
		return ""
	}
	defer socket.Close()
	if err := socket.SetExtAck(true); err != nil {
		return ""
	}
	set := func(fd int, flags uint32) error {
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(l.Attrs().Index)
		req.AddData(msg)
		xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
		xdp.AddRtAttr(nl.IFLA_XDP_FD, nl.Uint32Attr(uint32(fd)))
		xdp.AddRtAttr(nl.IFLA_XDP_FLAGS, nl.Uint32Attr(flags))
		req.AddData(xdp)
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	}
	err = set(p.FD(), nl.XDP_FLAGS_DRV_MODE|nl.XDP_FLAGS_UPDATE_IF_NOEXIST)
	if err == nil {
		_ = set(-1, nl.XDP_FLAGS_DRV_MODE)
		return ""
	}
	errno := bare(err)
	said, found := strings.CutPrefix(err.Error(), errno.Error()+": ")
	if !found {
		return ""
	}
	return said
}
