package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// clsactHook is a program that a filter of the clsact (or ingress) queueing
// discipline holds (tc-bpf(8)). The kernel keeps the filter as long as the
// interface is there; a folder among the pins says that there is one.
type clsactHook struct {
	index int
	path  string
}

const (
	filterName   = "weir"
	filterHandle = 0x77656972 // "weir"
	filterFirst  = 1          // preference: lower ones decide first
)

func (h *clsactHook) filter(p *ebpf.Program) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: h.index,
			Parent:    netlink.HANDLE_MIN_INGRESS,
			Handle:    filterHandle,
			Priority:  filterFirst,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           p.FD(),
		Name:         filterName,
		DirectAction: true,
	}
}

// hang makes the filter, and the queueing discipline if there is none.
func (h *clsactHook) hang(p *ebpf.Program) error {
	err := netlink.QdiscAdd(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: h.index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact: %w", err)
	}
	return h.replace(p)
}

// replace relies on the handle: the kernel exchanges the program of a filter
// that has it, in one step (cls_bpf_change).
func (h *clsactHook) replace(p *ebpf.Program) error {
	if err := netlink.FilterReplace(h.filter(p)); err != nil {
		return fmt.Errorf("set filter: %w", err)
	}
	return nil
}

// filters are all there are at ingress, in the order in which they decide.
func (h *clsactHook) filters() ([]netlink.Filter, error) {
	filters, err := WholeDump(func() ([]netlink.Filter, error) {
		return netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: h.index}}, netlink.HANDLE_MIN_INGRESS)
	})
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	return filters, nil
}

// ours returns our filter, and whether others decide before it.
func (h *clsactHook) ours() (ours *netlink.BpfFilter, behind bool, err error) {
	filters, err := h.filters()
	for i, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Handle == filterHandle && b.Name == filterName {
			return b, i > 0, nil
		}
	}
	return nil, false, err
}

// isTaken tells that another filter has our preference, which filters share
// only if they are of the same kind and for the same protocol.
func (h *clsactHook) isTaken() bool {
	filters, err := h.filters()
	return err == nil && slices.ContainsFunc(filters, func(f netlink.Filter) bool {
		a := f.Attrs()
		return a.Priority == filterFirst && (f.Type() != "bpf" || a.Protocol != unix.ETH_P_ALL)
	})
}

func (h *clsactHook) holds(netlink.Link) (ebpf.ProgramID, error) {
	f, _, err := h.ours()
	if f == nil || err != nil {
		return 0, err
	}
	return ebpf.ProgramID(f.Id), nil
}

func (h *clsactHook) keep() (restored bool, err error) {
	switch err := os.Mkdir(h.path, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("note clsact filter: %w", err)
	}
	return true, nil
}

func (h *clsactHook) release() error { return nil }

// remove leaves the queueing discipline, which somebody else may use by now.
// It costs a packet next to nothing.
func (h *clsactHook) remove() error {
	f, _, err := h.ours()
	if errors.Is(err, unix.ENODEV) {
		f, err = nil, nil
	}
	if f != nil {
		err = netlink.FilterDel(f)
	}
	if err != nil {
		return fmt.Errorf("remove filter: %w", err)
	}
	return os.Remove(h.path)
}
