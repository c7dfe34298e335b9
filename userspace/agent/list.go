package agent

import (
	"context"
	"iter"
	"net/netip"
	"slices"

	"weir/loader"
	"weir/policy"
	"weir/userspace/control"
)

// rowChunk is how many rows are completed by the core at once: few enough
// that records do not wait for a long list.
const rowChunk = 512

// Decisions implements control.Backend. Decisions in the ledger are never
// changed, only replaced, so what stood when the list was asked for is shown
// although the core goes on meanwhile.
func (a *Agent) Decisions(ctx context.Context, f control.Filter) iter.Seq2[control.Row, error] {
	return func(yield func(control.Row, error) bool) {
		var users, prefixes []*policy.Decision
		err := a.core.do(ctx, func() {
			for d := range a.core.ledger.All() {
				switch {
				case !f.Matches(d):
				case d.User != "":
					users = append(users, d)
				default:
					prefixes = append(prefixes, d)
				}
			}
		})
		if err != nil {
			yield(control.Row{}, err)
			return
		}
		for chunk := range slices.Chunk(append(users, prefixes...), rowChunk) {
			attached := a.protected()
			rows := make([]control.Row, len(chunk))
			err := a.core.do(ctx, func() {
				for i, d := range chunk {
					rows[i] = a.core.row(d)
				}
			})
			if err != nil {
				yield(control.Row{}, err)
				return
			}
			for i, d := range chunk {
				a.askKernel(&rows[i], d, attached)
				if !yield(rows[i], nil) {
					return
				}
			}
		}
	}
}

// row writes d with what the ledger says about it.
func (c *core) row(d *policy.Decision) control.Row {
	row := control.RowOf(d)
	if d.User != "" {
		return row
	}
	for _, concern := range c.ledger.LookupPrefix(d.Prefix) {
		if concern.Wins && concern.Decision != d {
			row.OverriddenBy = name(concern.Decision)
		}
	}
	return row
}

// askKernel completes row with what the kernel holds for d. An entry is in
// force only where the program is attached.
func (a *Agent) askKernel(row *control.Row, d *policy.Decision, attached bool) {
	if d.User != "" || row.OverriddenBy != "" {
		return
	}
	if e, held := a.entry(d.Prefix); held {
		row.InForce = enforces(e, d) && attached
		row.Dropped, row.Attempts = e.Dropped, e.Attempts
	}
}

// entry returns what the kernel holds for exactly prefix and still honours.
func (a *Agent) entry(prefix netip.Prefix) (loader.Entry, bool) {
	k := a.engaged()
	if k == nil {
		return loader.Entry{}, false
	}
	e, held, err := k.datapath.Get(prefix)
	if err != nil {
		a.log.Warn("the kernel's table cannot be read", "error", err)
		return loader.Entry{}, false
	}
	ended := !e.Expires.IsZero() && !a.o.Now().Before(e.Expires)
	return e, held && !ended
}

// protected reports whether the program is attached somewhere.
func (a *Agent) protected() bool {
	k := a.engaged()
	if k == nil {
		return false
	}
	somewhere, _ := protection(k.datapath.Attachments())
	return somewhere
}

// enforces reports whether e does what d says, as far as the kernel can.
func enforces(e loader.Entry, d *policy.Decision) bool {
	switch d.Action {
	case policy.Allow:
		return e.Action == loader.ActionAllow
	case policy.Limit:
		return e.Action == loader.ActionLimit
	case policy.Drop:
		return e.Action == loader.ActionDrop
	case policy.Tarpit:
		return e.Action == loader.ActionTarpit
	}
	return false
}
