package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// wide is what the program is told of prefixes that concern more than
// openings. Without any, other packets need not look for them.
type wide struct {
	flags    uint32
	variable *ebpf.Variable
}

func wideFlags(action datapathAction, bytes uint64) uint32 {
	switch {
	case action == datapathAction(ActionTarpit):
		return datapathWideTarpit
	case bytes != 0:
		return datapathWideBytes
	}
	return 0
}

const ( // WIDE_TARPIT, WIDE_BYTES
	datapathWideTarpit = 1
	datapathWideBytes  = 2
)

// watchWide tells the program what prefixes there are already. They are never
// taken back while it runs: what that costs is a look-up.
func (t *tables) watchWide(variable *ebpf.Variable) error {
	t.wide.variable = variable
	var flags uint32
	for row, err := range t.prefixes4.all() {
		if err != nil {
			return err
		}
		flags |= wideFlags(row.value.Action, row.value.Bytes)
	}
	for row, err := range t.prefixes6.all() {
		if err != nil {
			return err
		}
		flags |= wideFlags(row.value.Action, row.value.Bytes)
	}
	return t.wide.add(flags)
}

// add tells the program of what there is besides, or is about to be put.
func (w *wide) add(flags uint32) error {
	if w.flags|flags == w.flags {
		return nil
	}
	if err := w.variable.Set(w.flags | flags); err != nil {
		return fmt.Errorf("tell the program of wider entries: %w", err)
	}
	w.flags |= flags
	return nil
}
