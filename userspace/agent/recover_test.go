package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/loader"
	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/enforce"
)

// enforcing has the bench's agents use the kernel's tables, on pins of their
// own and an interface that does not exist.
func (b *bench) enforcing() {
	b.t.Helper()
	o := loader.DefaultOptions()
	o.Dir, o.Capacity = fmt.Sprintf("/sys/fs/bpf/weir-test-%d", os.Getpid()), 16
	d, err := loader.Open(o)
	if err != nil {
		if os.Getenv("CI") == "true" {
			b.t.Fatalf("the kernel's tables: %v", err)
		}
		b.t.Skipf("the kernel's tables: %v", err)
	}
	if err := errors.Join(d.Remove(), d.Close()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(o.Dir) })
	b.mode, b.bpffs, b.extra = "enforce", o.Dir, `interfaces = ["weir-none0"]`+"\n"
	b.configure()
	b.setClock(time.Now()) // which the kernel goes by
}

func mustHold(t *testing.T, a *Agent, prefix string) loader.Entry {
	t.Helper()
	e, held := a.entry(netip.MustParsePrefix(prefix))
	if !held {
		t.Fatalf("the kernel does not hold %s", prefix)
	}
	return e
}

// TestStoreLostIsRecoveredFromTheKernel destroys both headers of the store,
// which then gives nothing back.
func TestStoreLostIsRecoveredFromTheKernel(t *testing.T) {
	b := newBench(t)
	b.enforcing()
	b.runClock()
	a := b.mustStart()
	end := b.clock().Add(3 * time.Hour)
	forever, timed, limited, allowed, silenced := pinOf("192.0.2.1/32"), pinOf("192.0.2.2/32"), pinOf("192.0.2.3/32"), pinOf("203.0.113.0/24"), pinOf("203.0.113.9/32")
	timed.Until, limited.Until, allowed.Until = end, end, end
	limited.Action, limited.Rate = policy.Limit, policy.Rate{Every: 20 * time.Second, Burst: 3, Bytes: 64 << 10}
	allowed.Action = policy.Allow
	if err := a.Pin(t.Context(), []policy.Decision{forever, timed, limited, allowed, silenced}); err != nil {
		t.Fatal(err)
	}
	mustStop(t, a)
	path := filepath.Join(b.dir, "state", "weir.db")
	page := os.Getpagesize()
	b.write(path, strings.Repeat("x", 2*page)+mustRead(t, path)[2*page:])

	// A start that fails after the store was salvaged must not cost them.
	taken := filepath.Join(b.dir, "c.sock")
	b.write(taken, "no socket")
	if a, err := start(b.options()); err == nil {
		kill(a)
		t.Fatal("started on a control socket that is a file")
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}

	check := func(a *Agent) {
		t.Helper()
		if n := len(mustRows(t, a, control.Filter{})); n != 4 {
			t.Errorf("%d decisions stand, want 4", n)
		}
		for _, want := range []struct {
			d      policy.Decision
			pinned bool
		}{{forever, true}, {timed, false}, {limited, false}, {allowed, true}} {
			row := mustFind(t, a, want.d.Target, want.pinned)
			if row == nil {
				t.Errorf("%v is gone", want.d.Target)
				continue
			}
			e := mustHold(t, a, want.d.Prefix.String())
			if row.Action != want.d.Action || !enforces(e, &want.d) || (policy.Rate{Every: e.Every, Burst: e.Burst, Bytes: e.Bytes}) != want.d.Rate {
				t.Errorf("%+v: kernel %+v", row, e)
			}
			x, err := a.Explain(t.Context(), want.d.Target)
			if err != nil || want.pinned && x.Decisions[0].By != enforce.RecoveredBy || !want.pinned && row.Rule != enforce.RecoveredRule {
				t.Errorf("%+v, %v", x, err)
			}
			if (row.Until == nil) != want.d.Until.IsZero() || row.Until != nil && row.Until.Sub(end).Abs() > 2*time.Second { // the table rounds ends up, by 1.07 s at most
				t.Errorf("%v until %v", want.d.Target, row.Until)
			}
		}
	}
	a = b.mustStart()
	check(a)
	if said := b.output.String(); !strings.Contains(said, "decisions=2 pins=2") {
		t.Errorf("the count was not said:\n%s", said)
	}
	x, err := a.Explain(t.Context(), timed.Target)
	if err != nil || x.Verdict != "drop" || len(x.Decisions) != 1 || !strings.Contains(x.Decisions[0].Reason, "recovered") {
		t.Errorf("explained as %+v, %v", x, err)
	}
	if a.writer.current().Incomplete() {
		t.Error("it would be looked for again")
	}
	kill(a) // it was stored before the agent ran
	check(b.mustStart())
}

// TestRecoveredGivesWayToEvidence reads the log behind a recovered decision
// again.
func TestRecoveredGivesWayToEvidence(t *testing.T) {
	stands := policy.Decision{Action: policy.Drop, Until: logEnd, Rule: enforce.RecoveredRule, Since: logEnd}
	for _, c := range []struct {
		name   string
		action policy.Action
		until  time.Time
		known  bool
	}{
		{"the same, with its reason", policy.Drop, logEnd.Add(300 * time.Millisecond), false},
		{"the same, rounded up", policy.Drop, logEnd.Add(-300 * time.Millisecond), false},
		{"longer", policy.Limit, logEnd.Add(time.Hour), false},
		{"sooner over", policy.Drop, logEnd.Add(-time.Hour), true},
		{"milder and sooner over", policy.Limit, logEnd.Add(-time.Hour), true},
	} {
		d := policy.Decision{Action: c.action, Until: c.until, Rule: "r", Since: logEnd.Add(-time.Hour)}
		if known(&stands, &d) != c.known {
			t.Errorf("%s: known %v", c.name, !c.known)
		}
	}
	stands.Action = policy.Limit
	if d := (policy.Decision{Action: policy.Drop, Until: logEnd.Add(-time.Hour), Rule: "r"}); known(&stands, &d) {
		t.Error("a harsher decision is held off")
	}
}

// TestCapacity fills the kernel's table, follows the remedy, and expects the
// rest to be in force, too.
func TestCapacity(t *testing.T) {
	if config.Default().Entries != loader.DefaultOptions().Capacity {
		t.Errorf("the configuration's default is %d entries, the loader's %d", config.Default().Entries, loader.DefaultOptions().Capacity)
	}
	b := newBench(t)
	b.enforcing()
	extra := b.extra
	b.extra = extra + "limits = { entries = 16 }\n"
	b.configure()
	a := b.mustStart()
	var pins []policy.Decision
	for n := range 40 {
		pins = append(pins, pinOf(fmt.Sprintf("192.0.2.%d/32", n)))
	}
	err := a.Pin(t.Context(), pins)
	for _, want := range []string{"IPv4 sources", "16", "entries", "[limits]", b.config, "restart"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a full table: %v, want %q", err, want)
		}
	}
	b.extra = extra + "limits = { entries = 64 }\n"
	b.configure()
	a.reload()
	if said := b.output.String(); !strings.Contains(said, "takes effect when the agent is restarted") || !strings.Contains(said, "limits.entries") {
		t.Errorf("a new capacity on reload:\n%s", said)
	}
	mustStop(t, a)
	a = b.mustStart()
	for _, pin := range pins {
		mustHold(t, a, pin.Prefix.String())
	}
}
