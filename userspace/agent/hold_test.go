package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
)

// serving runs a's own goroutine until the test ends.
func serving(t *testing.T, a *Agent) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// enforcingNow starts an agent that enforces and is served.
func enforcingNow(t *testing.T) (*bench, *Agent) {
	t.Helper()
	b := newBench(t)
	b.enforcing()
	a := b.mustStart()
	serving(t, a)
	return b, a
}

func mustPin(t *testing.T, a *Agent, prefix string) {
	t.Helper()
	if err := a.Pin(t.Context(), []policy.Decision{pinOf(prefix)}); err != nil {
		t.Fatal(err)
	}
}

func mustStatus(t *testing.T, a *Agent) *control.Status {
	t.Helper()
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPanic holds over a restart, while rules and pins go on being recorded.
func TestPanic(t *testing.T) {
	b, a := enforcingNow(t)
	mustPin(t, a, "192.0.2.1/32")
	mustHold(t, a, "192.0.2.1/32")
	if err := a.Panic(t.Context(), control.Panic{Since: b.clock(), By: "alice", Reason: "why not"}); err != nil {
		t.Fatal(err)
	}
	open := func(a *Agent) {
		t.Helper()
		s := mustStatus(t, a)
		if a.engaged() != nil || s.Mode != "observe" || s.Panic == nil || s.Panic.By != "alice" || s.Panic.Reason != "why not" {
			t.Fatalf("kernel %v, mode %s, panic %+v", a.engaged(), s.Mode, s.Panic)
		}
		if _, err := os.Stat(b.bpffs); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("what was in the kernel is still there: %v", err)
		}
	}
	open(a)
	mustPin(t, a, "192.0.2.2/32")
	mustStop(t, a)

	a = b.mustStart()
	serving(t, a)
	open(a)
	p, err := a.Lift(t.Context())
	if err != nil || p.By != "alice" {
		t.Fatalf("%+v, %v", p, err)
	}
	mustHold(t, a, "192.0.2.1/32")
	mustHold(t, a, "192.0.2.2/32")
	if s := mustStatus(t, a); s.Panic != nil || s.Mode != "enforce" {
		t.Errorf("mode %s, panic %+v", s.Mode, s.Panic)
	}
	if _, err := a.Lift(t.Context()); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("lifted twice: %v", err)
	}
}

// TestPanicByFile is what a hand, or a command that the agent did not answer,
// leaves behind.
func TestPanicByFile(t *testing.T) {
	b, a := enforcingNow(t)
	mustPin(t, a, "192.0.2.1/32")
	b.write(filepath.Join(b.dir, "state", panicFile), "")
	mustWait(t, "the panic", func() bool { return a.engaged() == nil })
	if err := os.Remove(filepath.Join(b.dir, "state", panicFile)); err != nil {
		t.Fatal(err)
	}
	mustWait(t, "its end", func() bool { return a.engaged() != nil })
	mustHold(t, a, "192.0.2.1/32")

	c, err := config.Load(b.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := PanicAlone(c, control.Panic{Since: b.clock(), By: "root"}); err != nil {
		t.Fatal(err)
	}
	mustWait(t, "the command's panic", func() bool { return a.engaged() == nil })
	if s := mustStatus(t, a); s.Panic == nil || s.Panic.By != "root" {
		t.Errorf("panic %+v", s.Panic)
	}
	if err := LiftAlone(c, control.Panic{By: "root"}); err != nil {
		t.Fatal(err)
	}
	if err := LiftAlone(c, control.Panic{By: "root"}); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("lifted twice: %v", err)
	}
}

// TestPanicOnAFullDisk holds as long as the agent runs, and says so.
func TestPanicOnAFullDisk(t *testing.T) {
	b, a := enforcingNow(t)
	blocked := filepath.Join(b.dir, "state", panicFile) // rename(2) will not replace a folder
	if err := os.MkdirAll(filepath.Join(blocked, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := a.Panic(t.Context(), control.Panic{Since: b.clock()})
	if err == nil || !strings.Contains(err.Error(), "not beyond a restart") {
		t.Errorf("%v", err)
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	a.lookAtHold()
	if a.engaged() != nil || mustStatus(t, a).Panic == nil {
		t.Error("the panic was forgotten")
	}
	if _, err := a.Lift(t.Context()); err != nil || a.engaged() == nil {
		t.Errorf("lift: %v", err)
	}
}

// TestConfirm goes through the ways in which a wait can end.
func TestConfirm(t *testing.T) {
	const wait = 10 * time.Minute
	b := newBench(t)
	b.enforcing()
	begin := b.clock()
	start := func() *Agent {
		t.Helper()
		o := b.options()
		o.Confirm = wait
		a, err := start(o)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.output)
		}
		serving(t, a)
		t.Cleanup(func() { kill(a) })
		return a
	}
	ends := func(a *Agent, want time.Time) {
		t.Helper()
		got := mustHold(t, a, "192.0.2.1/32").Expires
		if want.IsZero() != got.IsZero() || got.Sub(want).Abs() > 3*time.Second {
			t.Fatalf("the kernel's entry ends %v, want %v", got, want)
		}
	}
	a := start()
	mustPin(t, a, "192.0.2.1/32")
	ends(a, begin.Add(wait)) // by itself, whoever has died
	if s := mustStatus(t, a); s.Ceiling != nil || s.Confirm == nil || !s.Confirm.Until.Equal(begin.Add(wait)) {
		t.Fatalf("ceiling %+v, confirm %+v", s.Ceiling, s.Confirm)
	}
	mustStop(t, a)

	b.setClock(begin.Add(wait / 2))
	a = start() // which begins no new wait
	ends(a, begin.Add(wait))
	b.setClock(begin.Add(wait))
	mustWait(t, "the end of the wait", func() bool { return a.engaged() == nil })
	if c, err := a.Confirm(t.Context(), false); err != nil || !c.Reverted {
		t.Fatalf("confirmed too late: %+v, %v", c, err)
	}
	mustStop(t, a)
	a = start()
	if a.engaged() != nil {
		t.Fatal("a restart enforces what was not confirmed")
	}
	if _, err := a.Confirm(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	ends(a, begin.Add(2*wait))
	if _, err := a.Confirm(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	ends(a, time.Time{})
	if s := mustStatus(t, a); s.Ceiling == nil || s.Confirm != nil {
		t.Fatalf("ceiling %+v, confirm %+v", s.Ceiling, s.Confirm)
	}
	if _, err := a.Confirm(t.Context(), false); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("confirmed twice: %v", err)
	}
	mustStop(t, a)
	a = start()
	ends(a, time.Time{})
	mustStop(t, a)

	b.mode = "observe"
	b.configure()
	mustStop(t, start())
	b.mode = "enforce"
	b.configure()
	if a = start(); mustStatus(t, a).Confirm == nil {
		t.Error("enforcing anew needs no confirmation")
	}
}
