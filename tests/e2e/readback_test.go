package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Somebody else with all the rights there are takes enforcement apart while
// the agent runs. It notices, mends it, and says so.
func TestReadBack(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.guess(fixed(attacker4))
	s.must("pin", attacker6.String(), "--action", "drop")
	pins := s.lab.Path("bpf", "weir")
	mustMap := func(name string) *ebpf.Map {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(pins, "maps_*", name))
		if err != nil || len(found) != 1 {
			t.Fatalf("pins of %s: %v, %v", name, found, err)
		}
		m, err := ebpf.LoadPinnedMap(found[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	clearMap := func(name string) {
		t.Helper()
		m := mustMap(name)
		for i := range m.MaxEntries() {
			if err := m.Put(i, make([]byte, m.ValueSize())); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, fault := range []struct {
		name  string
		words string
		do    func()
	}{
		{"the link is detached", "the program was taken off", func() {
			found, err := filepath.Glob(filepath.Join(pins, "links", "if*"))
			if err != nil || len(found) != 1 {
				t.Fatalf("pinned links: %v, %v", found, err)
			}
			l, err := link.LoadPinnedLink(found[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.Detach(); err != nil {
				t.Fatal(err)
			}
		}},
		{"the table is emptied", "", func() { clearMap("verdicts4"); clearMap("verdicts6") }},
		{"the ports are cleared", "passed, which is to be dropped", func() { clearMap("ports") }},
		{"the pin folder is removed", "the pin folder", func() {
			if err := os.RemoveAll(pins); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		before := s.mustStatus().ReadBack
		fault.do()
		begun := time.Now()
		s.mustPoll(20*time.Second, "the agent to notice that "+fault.name, func() bool {
			now := s.mustStatus().ReadBack
			return now.Differences > before.Differences && now.Differences == now.Repaired && now.Standing == "" &&
				strings.Contains(now.Difference, fault.words) // what it met halfway through the fault before may come first
		})
		after := s.mustStatus().ReadBack
		t.Logf("%s: mended after %v: %s", fault.name, time.Since(begun).Round(time.Millisecond), after.Difference)
		for _, from := range []netip.Addr{attacker4, attacker6} {
			s.mustPoll(20*time.Second, "the attacker to be kept out again", func() bool { return !s.lab.Reachable(t.Context(), from, 587) })
		}
		s.wantReachable(true, good4)
	}
	s.mustContain(s.must("status"), "the kernel holds what was decided")

	// What was mended is what the next start takes over.
	if err := s.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	s.wantReachable(false, attacker4)
	s.mustStart()
	s.wantReachable(false, attacker4)
	s.wantReachable(false, attacker6)
	if got := s.mustStatus().ReadBack; got.Differences != 0 {
		t.Errorf("after the restart: %+v", got)
	}
}
