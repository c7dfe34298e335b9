package main

import (
	"context"
	"fmt"
	"time"

	"weir/loader"
)

// payload is the data of a segment, as much as the shortest frame has room for.
const payload = 6

// actionRows are those of weir where more is done than to drop or to pass.
func (b *datapathBench) actionRows(ctx context.Context, four, six empties) error {
	add := func(w *weir, what, exit string, r row) {
		r.contender, r.what, r.flagged, r.gate = "weir", what, w.flagged, &exitGate{w, exit}
		b.rows = append(b.rows, &r)
	}
	for _, n := range b.peerSources {
		w, err := b.openWeir(fmt.Sprintf("tarpit_%d", n), n)
		if err != nil {
			return err
		}
		for _, base := range []empties{four, six} {
			t := base.drop.traffic
			t.Count = n
			if err := w.flag(ctx, t, loader.Entry{Action: loader.ActionTarpit}); err != nil {
				return err
			}
			add(w, "tarpit answers openings, "+base.drop.family(), "answered", row{traffic: t, base: base.drop})
			t.Opening = false
			add(w, "tarpit swallows the rest, "+base.drop.family(), "tarpitted", row{traffic: t, base: base.drop})
		}
	}
	n := b.peerSources[0]
	w, err := b.openWeir("bytes", n)
	if err != nil {
		return err
	}
	t := four.pass.traffic
	t.Count, t.Opening, t.Payload = n, false, payload
	if err := w.flag(ctx, t, loader.Entry{Action: loader.ActionLimit, Bytes: loader.MaxBytes}); err != nil {
		return err
	}
	add(w, "passes data within the bytes a second, IPv4", "within_limit", row{traffic: t, base: four.pass})
	return b.ceilingRows(add, four)
}

// ceilingRows are openings under the ceiling that every source has, and over it.
func (b *datapathBench) ceilingRows(add func(w *weir, what, exit string, r row), four empties) error {
	high, err := b.openWeir("ceiling", 1)
	if err != nil {
		return err
	}
	low, err := b.openWeir("over_ceiling", 1)
	if err != nil {
		return err
	}
	for w, c := range map[*weir]loader.Ceiling{
		high: {Every: 100 * time.Microsecond, Burst: 1 << 28, Ports: []uint16{protectedPort}},
		low:  {Every: time.Hour, Burst: 1, Ports: []uint16{protectedPort}},
	} {
		if err := w.SetCeiling(c); err != nil {
			return err
		}
	}
	const few = 1000 // so many flood, each within what is remembered
	t := four.pass.traffic
	t.Count = few
	add(high, "passes openings of 1,000 sources under the ceiling, IPv4", "unflagged", row{traffic: t, base: four.pass})
	t.Count = 1 << 24
	add(high, "passes openings of forged sources under the ceiling, IPv4", "unflagged", row{traffic: t, base: four.pass})
	t = four.drop.traffic
	t.Count = few
	if err := b.overLimit(low, t); err != nil {
		return err
	}
	add(low, "drops openings of 1,000 sources over the ceiling, IPv4", "over_ceiling", row{traffic: t, base: four.drop})
	return nil
}
