package faults

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/userspace/control"
)

// TestRuntimeGivesUp has Go's runtime find no memory (getrlimit(2)), which by
// itself ends a program with status 2: what the unit takes for a mistake in the
// configuration, and does not start again. So it ends by a signal.
func TestRuntimeGivesUp(t *testing.T) {
	s := mustRun(t, rules)
	s.mustPin(pinned4)
	blocked := s.mustProbe(pinned4)
	limit := unix.Rlimit{Cur: 200 << 20, Max: 200 << 20}
	if err := unix.Prlimit(s.weir.PID(), unix.RLIMIT_DATA, &limit, nil); err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for n := range 1_000_000 {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", n>>16, n>>8&255, n&255)
	}
	if _, err := s.client.Pin(t.Context(), control.Terms{Action: policy.Drop}, strings.NewReader(list.String()), func(int) {}); err == nil {
		t.Fatal("a million pins found room in 200 MB: the limit is too wide for this test")
	}
	if code := s.weir.ExitCode(); code != -1 || !strings.Contains(s.lab.Output("weir"), "fatal error: ") { // in one of several wordings
		t.Errorf("the agent ended with status %d", code)
	}
	s.mustStart()
	if n := s.mustKnock(blocked, 100); n != 0 {
		t.Errorf("%d packets got through", n)
	}
}
