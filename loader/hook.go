package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// place is where in the kernel's way of a packet a program can stand. Its
// name begins that of the pin.
type place string

const (
	placeXDP    place = "if" // in the driver, or before the stack
	placeTCX    place = "tcx"
	placeClsact place = "clsact"
)

// places are all there are, the best first.
func places() []place { return []place{placeXDP, placeTCX, placeClsact} }

// hook is one program in one place on one interface. It outlives the process.
type hook interface {
	// holds returns the id of the program that the interface itself says
	// stands here, 0 if none: whoever holds a link sees the interface that
	// it was made for, wherever that is now.
	holds(netlink.Link) (ebpf.ProgramID, error)
	// replace gives the place another program; no packet comes in between.
	replace(*ebpf.Program) error
	// keep makes the hook be found by the next start, also after somebody
	// has removed what it is found by. It reports whether that was so.
	keep() (restored bool, err error)
	// release lets go of the hook, which stays; remove takes it off.
	release() error
	remove() error
}

// open returns the hook that an earlier run left in a place of an interface,
// nil if there is none.
func (d *Datapath) open(where place, index int) (hook, error) {
	path := d.pins.hookPath(where, index)
	if where == placeClsact {
		if _, err := os.Stat(path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			return nil, fmt.Errorf("look for clsact filter: %w", err)
		}
		return &clsactHook{index: index, path: path}, nil
	}
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link: %w", explain(err))
	}
	return &linkHook{where: where, link: l, path: path}, nil
}

// hang puts a program into the place of a rung, where it is not yet.
func (d *Datapath) hang(r rung, l netlink.Link) (hook, error) {
	index, path := l.Attrs().Index, d.pins.hookPath(r.where, l.Attrs().Index)
	program := d.programFor(r.where, l)
	var made link.Link
	var err error
	switch r.where {
	case placeXDP:
		made, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: index, Flags: r.flags})
	case placeTCX: // before all others, who could let a packet pass by us
		made, err = link.AttachTCX(link.TCXOptions{Program: program, Interface: index, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	case placeClsact:
		h := &clsactHook{index: index, path: path}
		if err := h.hang(program); err != nil {
			return nil, err
		}
		_, err := h.keep()
		return h, err
	}
	if err != nil {
		return nil, err
	}
	if err := made.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("pin link: %w", err), made.Close())
	}
	return &linkHook{where: r.where, link: made, path: path}, nil
}

// programFor chooses the entry point.
func (d *Datapath) programFor(where place, l netlink.Link) *ebpf.Program {
	switch {
	case where == placeXDP:
		return d.objects.WeirXdp
	case isBare(l):
		return d.objects.WeirTcBare
	}
	return d.objects.WeirTc
}

// linkHook is a program behind a pinned link: XDP or TCX.
type linkHook struct {
	where place
	link  link.Link
	path  string
}

func (h *linkHook) holds(l netlink.Link) (ebpf.ProgramID, error) {
	info, err := h.link.Info()
	if err != nil {
		return 0, fmt.Errorf("look at link: %w", err)
	}
	index := l.Attrs().Index
	if h.where == placeTCX {
		if info.TCX() == nil || int(info.TCX().Ifindex) != index {
			return 0, nil
		}
		for _, p := range tcxPrograms(index) {
			if p == info.Program {
				return p, nil
			}
		}
		return 0, nil
	}
	if info.XDP() == nil || int(info.XDP().Ifindex) != index {
		return 0, nil
	}
	switch x := l.Attrs().Xdp; {
	case x != nil && x.AttachMode == xdpAttachedMulti: // one in the NIC, too: whose is whose is not told
		return info.Program, nil
	case x == nil || ebpf.ProgramID(x.ProgId) != info.Program:
		return 0, nil
	}
	return info.Program, nil
}

// xdpAttachedMulti says that programs stand in the driver and in the NIC at
// once (XDP_ATTACHED_MULTI of linux/if_link.h).
const xdpAttachedMulti = 4

// tcxPrograms are the programs at an interface's TCX ingress, the first first.
func tcxPrograms(index int) (ids []ebpf.ProgramID) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return nil
	}
	for _, p := range found.Programs {
		ids = append(ids, p.ID)
	}
	return ids
}

func (h *linkHook) replace(p *ebpf.Program) error { return h.link.Update(p) }

func (h *linkHook) keep() (restored bool, err error) {
	if _, err := os.Stat(h.path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	_ = h.link.Unpin() // what it believes to be pinned, it would not pin again
	if err := h.link.Pin(h.path); err != nil {
		return false, fmt.Errorf("pin link: %w", err)
	}
	return true, nil
}

func (h *linkHook) release() error { return h.link.Close() }

func (h *linkHook) remove() error {
	err := os.Remove(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	// In this order the link ends with Close, not some time after.
	return errors.Join(err, h.link.Close())
}
