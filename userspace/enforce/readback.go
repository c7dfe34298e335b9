package enforce

import (
	"fmt"
	"net/netip"

	"weir/loader"
	"weir/policy"
)

// Sampler is a table of which single entries can be read.
type Sampler interface {
	Get(netip.Prefix) (loader.Entry, bool, error)
	Sample(n int, pick func(int) int) ([]loader.Entry, error)
}

// ReadBack compares a few decisions that are in force, and as many entries of
// the table, with their counterparts. It returns the first difference in
// words, "" if there is none. It must not be called at the same time as Apply
// and Reconcile, and what these were told must be what the ledger says.
func (e *Enforcer) ReadBack(table Sampler, ledger *policy.Ledger, n int, pick func(int) int) (string, error) {
	if e == nil {
		return "", nil
	}
	for _, d := range ledger.Sample(n, pick) {
		if differs, err := e.differs(table, d); differs != "" || err != nil {
			return differs, err
		}
	}
	entries, err := table.Sample(n, pick)
	if err != nil {
		return "", fmt.Errorf("sample the verdict table: %w", err)
	}
	for _, have := range entries {
		d := ledger.InForceOn(have.Prefix)
		if d == nil {
			return fmt.Sprintf("the kernel's table holds %s, which nobody decided", have.Prefix), nil
		}
		if differs, err := e.differs(table, d); differs != "" || err != nil {
			return differs, err
		}
	}
	return "", nil
}

func (e *Enforcer) differs(table Sampler, d *policy.Decision) (string, error) {
	if loader.Reserved(d.Prefix) {
		return "", nil
	}
	want, err := entryOf(d, e.o.End)
	if err != nil {
		return "", nil // said when it was to be enforced
	}
	have, found, err := table.Get(d.Prefix)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the verdict table: %w", err)
	case !found:
		return fmt.Sprintf("the kernel's table lacks %s", d.Prefix), nil
	case !same(have, want):
		return fmt.Sprintf("the kernel's table says something else of %s than was decided", d.Prefix), nil
	}
	return "", nil
}
