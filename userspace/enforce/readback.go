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
		if differs, err := e.lacks(table, d); differs != "" || err != nil {
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
		if differs := e.differs(have, d); differs != "" {
			return differs, nil
		}
	}
	return "", nil
}

// lacks compares a decision with what the table holds for it.
func (e *Enforcer) lacks(table Sampler, d *policy.Decision) (string, error) {
	if _, err := entryOf(d, e.o.End); err != nil || loader.Reserved(d.Prefix) {
		return "", nil // said when it was to be enforced, or not taken
	}
	have, found, err := table.Get(d.Prefix)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the verdict table: %w", err)
	case !found:
		return fmt.Sprintf("the kernel's table lacks %s", d.Prefix), nil
	}
	return e.differs(have, d), nil
}

// differs compares an entry with the decision behind it.
func (e *Enforcer) differs(have loader.Entry, d *policy.Decision) string {
	if want, err := entryOf(d, e.o.End); err == nil && !same(have, want) {
		return fmt.Sprintf("the kernel's table says something else of %s than was decided", d.Prefix)
	}
	return ""
}
