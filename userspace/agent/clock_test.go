package agent

import (
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
)

// TestClockStepped steps the wall clock back and forth. What has not ended by
// any of its readings stays, in the ledger as in the kernel, whose entries end
// by a clock that cannot be stepped; checkpoints go on being taken.
func TestClockStepped(t *testing.T) {
	b := newBench(t)
	b.enforcing()
	a := b.mustStart()
	forever, timed := pinOf("192.0.2.1/32"), pinOf("192.0.2.2/32")
	begun := b.clock()
	timed.Until = begun.Add(3 * time.Hour)
	if err := a.Pin(t.Context(), []policy.Decision{forever, timed}); err != nil {
		t.Fatal(err)
	}
	before := mustHold(t, a, "192.0.2.2/32")
	for _, step := range []time.Duration{-24 * time.Hour, 2 * time.Hour, -400 * 24 * time.Hour, 2 * time.Hour} {
		b.setClock(begun.Add(step))
		if err := a.core.do(t.Context(), func() {
			a.core.dirty, a.core.saved = true, begun
			a.core.tick()
			a.core.compare()
		}); err != nil {
			t.Fatal(err)
		}
		if rows := mustRows(t, a, control.Filter{}); len(rows) != 2 {
			t.Errorf("stepped by %v: %+v", step, rows)
		}
		mustHold(t, a, "192.0.2.1/32")
		if now := mustHold(t, a, "192.0.2.2/32"); now.Expires.Sub(before.Expires).Abs() > 2*time.Second {
			t.Errorf("stepped by %v: the kernel's entry ends %v, before %v", step, now.Expires, before.Expires)
		}
		dirty := false
		if err := a.core.do(t.Context(), func() { dirty = a.core.dirty }); err != nil || dirty {
			t.Errorf("stepped by %v: no checkpoint was taken", step)
		}
	}
	kill(a)
	if rows := mustRows(t, b.mustStart(), control.Filter{}); len(rows) != 2 {
		t.Errorf("after a kill: %+v", rows)
	}
}
