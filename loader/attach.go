package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Modes of an [Attachment].
const (
	ModeNative  = "native"  // in the driver, before the packet costs anything
	ModeGeneric = "generic" // in the stack, for any interface
	ModeNone    = "none"    // not attached
)

// Attachment is what became of one interface of the selection.
type Attachment struct {
	Interface string // its name, or the pattern that matches nothing
	Index     int    // 0: there is no such interface
	Mode      string
	Reason    string // why this mode, in plain words, with a remedy where there is one

	// Tarpit tells that clients are answered by the tarpit here. Otherwise
	// it drops their packets, and Reason says why.
	Tarpit bool
}

// attachment is an interface that carries the program.
type attachment struct {
	link    link.Link
	refusal error // why native XDP was refused, if it was and we were there
	stale   error // why the link could not be given this program

	answers   bool   // the tarpit's answers can leave
	answerHow string // by an uncommon way
	noAnswer  error  // why not, when it was tried
}

// attach puts the program on an interface, or replaces the one an earlier run
// left there. It returns what came of it.
func (d *Datapath) attach(l netlink.Link) Attachment {
	attrs := l.Attrs()
	out := Attachment{Interface: attrs.Name, Index: attrs.Index, Mode: ModeNone}

	a, err := d.adopt(attrs.Index)
	if a == nil && err == nil {
		a, err = d.attachNew(attrs.Index)
	}
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		out.Reason = fmt.Sprintf("another XDP program holds %s and is left alone; take it off (ip link set dev %s xdp off) or take the interface out of the selection", foreignProgram(attrs), attrs.Name)
	case err != nil:
		out.Reason = fmt.Sprintf("cannot attach: %v", err)
	default:
		d.attached[attrs.Index] = a
		return d.describe(l)
	}
	return out
}

func foreignProgram(attrs *netlink.LinkAttrs) string {
	if attrs.Xdp == nil || attrs.Xdp.ProgId == 0 {
		return attrs.Name
	}
	return fmt.Sprintf("%s (program id %d)", attrs.Name, attrs.Xdp.ProgId)
}

// adopt takes over the pinned link of an interface, if there is one, and
// gives it this program. The kernel exchanges the two between packets.
func (d *Datapath) adopt(index int) (*attachment, error) {
	path := d.pins.linkPath(index)
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link: %w", explain(err))
	}
	if !alive(l, index) {
		return nil, errors.Join(os.Remove(path), l.Close())
	}
	a := &attachment{link: l}
	if err := l.Update(d.objects.WeirXdp); err != nil {
		a.stale = err
	}
	return a, nil
}

// alive reports whether the link still stands on the interface: it loses it
// when that vanishes, and the index may be given to another one.
func alive(l link.Link, index int) bool {
	info, err := l.Info()
	if err != nil || info.XDP() == nil {
		return false
	}
	return int(info.XDP().Ifindex) == index
}

// attachNew tries native XDP, then generic.
func (d *Datapath) attachNew(index int) (*attachment, error) {
	o := link.XDPOptions{Program: d.objects.WeirXdp, Interface: index, Flags: link.XDPDriverMode}
	l, refusal := link.AttachXDP(o)
	if errors.Is(refusal, unix.EBUSY) || errors.Is(refusal, unix.EEXIST) {
		return nil, refusal
	}
	if refusal != nil {
		var err error
		o.Flags = link.XDPGenericMode
		if l, err = link.AttachXDP(o); err != nil {
			return nil, fmt.Errorf("native XDP refused (%w), generic XDP too: %w", bare(refusal), explain(err))
		}
	}
	if err := l.Pin(d.pins.linkPath(index)); err != nil {
		return nil, errors.Join(fmt.Errorf("pin link: %w", err), l.Close())
	}
	return &attachment{link: l, refusal: refusal}, nil
}

// bare is the system's error without the layers it came through.
func bare(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// describe says how the program stands on an interface that carries it.
func (d *Datapath) describe(l netlink.Link) Attachment {
	attrs, a := l.Attrs(), d.attached[l.Attrs().Index]
	out := Attachment{Interface: attrs.Name, Index: attrs.Index}
	// What was read before attaching does not tell.
	now, err := netlink.LinkByIndex(attrs.Index)
	switch {
	case err != nil:
		out.Mode, out.Reason = ModeNone, fmt.Sprintf("interface vanished: %v", err)
	case now.Attrs().Xdp != nil && now.Attrs().Xdp.AttachMode == nl.XDP_ATTACHED_SKB:
		out.Mode = ModeGeneric
		out.Reason = "generic XDP kept since an earlier start"
		if a.refusal != nil {
			out.Reason = fmt.Sprintf("native refused: %v; using generic", bare(a.refusal))
		}
	default:
		out.Mode = ModeNative
		out.Reason = fmt.Sprintf("driver %s supports native XDP", driver(l))
	}
	if out.Mode != ModeNone && !a.answers {
		a.answerHow, a.noAnswer = d.allowAnswers(attrs.Index, out.Mode)
		a.answers = a.noAnswer == nil
	}
	out.Tarpit = a.answers
	switch {
	case a.noAnswer != nil:
		out.Reason += fmt.Sprintf("; tarpit can only drop here: %v", a.noAnswer)
	case a.answerHow != "":
		out.Reason += "; " + a.answerHow
	}
	if a.stale != nil {
		out.Reason += fmt.Sprintf("; the program of an earlier start is still in force, replacing it failed: %v", a.stale)
	}
	return out
}

// driver names an interface's driver as ethtool -i does, else its kind.
func driver(l netlink.Link) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return l.Type()
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.Attrs().Name)
	if err != nil {
		return l.Type()
	}
	return unix.ByteSliceToString(info.Driver[:])
}

// detach takes the program off an interface, or just the pin away if the
// interface is gone.
func (d *Datapath) detach(index int) error {
	a := d.attached[index]
	delete(d.attached, index)
	err := d.refuseAnswers(index)
	// In this order the link ends with Close, not some time after.
	return errors.Join(err, a.link.Unpin(), a.link.Close())
}

// detachPinned does the same for a link that an earlier run left.
func (d *Datapath) detachPinned(index int) error {
	path := d.pins.linkPath(index)
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return fmt.Errorf("open pinned link: %w", explain(err))
	}
	return errors.Join(d.refuseAnswers(index), os.Remove(path), l.Close())
}
