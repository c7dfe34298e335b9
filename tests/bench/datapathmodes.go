package main

import (
	"context"
	"fmt"

	"weir/loader"
)

// modeRows are weir in the places that it takes where native XDP cannot be.
func (b *datapathBench) modeRows(ctx context.Context, base empties) error {
	for _, mode := range []string{loader.ModeGeneric, loader.ModeTCX, loader.ModeClsact} {
		w, err := b.openWeir("mode_"+mode, 1, mode)
		if err != nil {
			return err
		}
		drop, pass := base.drop.traffic, base.pass.traffic
		drop.Count = w.flagged
		if err := w.flag(ctx, drop, loader.Entry{Action: loader.ActionDrop}); err != nil {
			return err
		}
		pass.Port = otherPort
		contender := fmt.Sprintf("weir, mode %s", mode)
		b.rows = append(b.rows,
			&row{contender: contender, what: "drops " + base.drop.family(), flagged: w.flagged, traffic: drop, gate: &exitGate{w, "dropped"}, base: base.drop},
			&row{contender: contender, what: "passes another port, " + base.drop.family(), flagged: w.flagged, traffic: pass, gate: &exitGate{w, "other_port"}, base: base.pass})
	}
	return nil
}
