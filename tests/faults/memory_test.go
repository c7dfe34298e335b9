package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/policy"
	"weir/tests/lab"
	"weir/userspace/control"
)

// mustMemory makes a memory control group of that many bytes, of version 1 or
// 2, whichever the machine has.
func mustMemory(t *testing.T, bytes int) (procs string) {
	t.Helper()
	name := fmt.Sprintf("weir-faults-%d", os.Getpid())
	var errs []error
	for dir, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			errs = append(errs, err) // no control group
			continue
		}
		group := filepath.Join(dir, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		t.Cleanup(func() { _ = os.Remove(group) }) // the processes in it have ended
		if err := os.WriteFile(filepath.Join(group, limit), []byte(fmt.Sprint(bytes)), 0o644); err != nil {
			errs = append(errs, err)
			continue
		}
		_ = os.WriteFile(filepath.Join(group, "memory.swap.max"), []byte("0"), 0o644) // version 2 with swap
		return filepath.Join(group, "cgroup.procs")
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no memory control group: %v", errs)
	}
	t.Skipf("SKIPPED, nothing was tested: no memory control group: %v", errs)
	return ""
}

// TestMemoryLimit has the kernel kill the agent as it imports more than its
// memory limit allows. Enforcement goes on, what was acknowledged is there
// after the next start, and nothing else.
func TestMemoryLimit(t *testing.T) {
	procs := mustMemory(t, 24<<20) // beyond what it holds already
	s := mustRun(t, rules)
	s.mustPin(pinned4)
	blocked := s.mustProbe(pinned4)
	if err := os.WriteFile(procs, []byte(fmt.Sprint(s.weir.PID())), 0o644); err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	const most = 900_000
	for n := range most {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", n>>16, n>>8&255, n&255)
	}
	done := 0
	progress, err := s.client.Pin(t.Context(), control.Terms{Action: policy.Drop, Reason: "a feed"}, strings.NewReader(list.String()), func(n int) { done = n })
	if err == nil {
		t.Fatalf("the agent took %d pins within its memory limit", progress.Done)
	}
	<-s.weir.Exited()
	if code := s.weir.ExitCode(); code != -1 {
		t.Errorf("it ended by itself with status %d, and was not killed", code)
	}
	if n := s.mustKnock(blocked, 100); n != 0 {
		t.Errorf("%d packets got through", n)
	}
	s.mustStart()
	pins, _, err := listed(t.Context(), s.client)
	if err != nil {
		t.Fatal(err)
	}
	for n := range done {
		target := fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)
		if _, there := pins[target]; !there {
			t.Fatalf("%s of %d acknowledged pins is lost", target, done)
		}
	}
	s.mustPoll(lab.Patience, "the agent to answer", func() bool { return s.mustStatus().PID == s.weir.PID() })
	if n := s.mustKnock(blocked, 100); n != 0 {
		t.Errorf("%d packets got through after the restart", n)
	}
	t.Logf("killed after %d of %d pins were acknowledged; %d are there; %d packets, none through", done, most, len(pins), blocked.Sent())
}
