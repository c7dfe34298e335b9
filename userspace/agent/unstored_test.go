package agent

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

// TestUnstoredStaysUntilTheLogIsRead kills an agent that has put into the
// kernel what it had not stored yet.
func TestUnstoredStaysUntilTheLogIsRead(t *testing.T) {
	b := newBench(t)
	b.enforcing()
	b.runClock()
	a := b.mustStart()
	automatic := func(prefix string) policy.Decision {
		d := pinOf(prefix)
		d.Pinned, d.By, d.Rule = false, "", "guessing"
		d.Since, d.Until = b.clock(), b.clock().Add(time.Hour)
		return d
	}
	again, never, allowed, pinned := automatic("192.0.2.1/32"), automatic("2001:db8:7:7::/64"), automatic("203.0.113.9/32"), pinOf("192.0.2.4/32")
	pardoned := automatic("192.0.2.130/32")
	if err := a.core.do(t.Context(), func() {
		for _, d := range []*policy.Decision{&again, &never, &allowed, &pinned, &pardoned} {
			if err := a.core.enforce([]policy.Change{{Prefix: d.Prefix, Decision: d}}); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	kill(a)

	b.allow = "203.0.113.0/24"
	b.configure()
	a = b.mustStart()
	holds := func(d *policy.Decision) bool { _, held := a.entry(d.Prefix); return held }
	if !holds(&again) || !holds(&never) || holds(&allowed) || holds(&pinned) {
		t.Errorf("the start keeps %t, %t; allowed meanwhile %t, without end %t", holds(&again), holds(&never), holds(&allowed), holds(&pinned))
	}
	if x, err := a.Explain(t.Context(), never.Target); err != nil || !strings.Contains(x.Problem, "killed before it stored why") {
		t.Errorf("%+v, %v", x, err)
	}
	later := func(after time.Duration, do func(c *core)) { // not by the clock, which the kernel's ends go by
		t.Helper()
		if err := a.core.do(t.Context(), func() {
			a.core.unstored.since = b.clock().Add(-after)
			do(a.core)
			a.core.compare()
			a.core.tick()
		}); err != nil {
			t.Fatal(err)
		}
	}
	net := pinOf("192.0.2.128/25")
	net.Action = policy.Allow
	if err := a.Pin(t.Context(), []policy.Decision{net}); err != nil {
		t.Fatal(err)
	}
	later(0, func(*core) {})
	if holds(&pardoned) || !holds(&never) {
		t.Errorf("allowed since: %t, not allowed: %t", holds(&pardoned), holds(&never))
	}
	later(unstoredLeast-time.Second, func(c *core) { c.decision(&again); _ = c.apply() })
	if !holds(&again) || !holds(&never) {
		t.Errorf("while the log is read: %t, %t", holds(&again), holds(&never))
	}
	later(unstoredLeast, func(*core) {})
	if !holds(&again) || holds(&never) {
		t.Errorf("after the log was read: made again %t, not %t", holds(&again), holds(&never))
	}
	if said := b.output.String(); !strings.Contains(said, "decisions_not_stored=2 not_made_again=1") || strings.Contains(said, "was not as it was left") {
		t.Errorf("said:\n%s", said)
	}
	if a.core.readBack.differences != 0 {
		t.Error("it counts as a difference")
	}
}

// TestUnstoredOfNobody finds more in the kernel's table than a run can have left.
func TestUnstoredOfNobody(t *testing.T) {
	b := newBench(t)
	b.enforcing()
	extra := b.extra
	b.extra = extra + "limits = { entries = 8192 }\n"
	b.configure()
	a := b.mustStart()
	d := pinOf("192.0.2.1/32")
	d.Pinned, d.By, d.Rule, d.Until = false, "", "guessing", b.clock().Add(time.Hour)
	if err := a.core.do(t.Context(), func() {
		var changes []policy.Change
		for i := range unstoredMost + 1 {
			one := d
			one.Prefix = pinOf("10.0." + strconv.Itoa(i/256) + "." + strconv.Itoa(i%256) + "/32").Prefix
			changes = append(changes, policy.Change{Prefix: one.Prefix, Decision: &one})
		}
		if err := a.core.enforce(changes); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	kill(a)
	a = b.mustStart()
	if _, held := a.entry(pinOf("10.0.0.1/32").Prefix); held || len(a.core.unstored.decisions) != 0 {
		t.Error("a table of somebody else's is taken for what a run has left")
	}
}
