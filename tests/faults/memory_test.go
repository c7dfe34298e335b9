package faults

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/userspace/control"
)

// TestMemoryLimit has the agent meet a limit of its memory (getrlimit(2)). It
// ends by a signal, so that systemd starts it again, enforcement goes on
// meanwhile, and all that was acknowledged is there afterwards.
func TestMemoryLimit(t *testing.T) {
	h := mustHost(t, "[limits]\nentries = 1048576\n")
	h.blocked()
	limit := unix.Rlimit{Cur: 200 << 20, Max: 200 << 20}
	if err := unix.Prlimit(h.weir.PID(), unix.RLIMIT_DATA, &limit, nil); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		var err error
		for n := 0; n < 1_000_000 && err == nil; n++ {
			_, err = fmt.Fprintf(w, "10.%d.%d.%d\n", n>>16, n>>8&255, n&255)
		}
		w.CloseWithError(err)
	}()
	told := 0
	_, err := h.client.Pin(t.Context(), control.Terms{Action: policy.Drop, Reason: "many"}, r, func(done int) { told = done })
	_ = r.Close()
	if err == nil {
		t.Fatal("a million pins found room in 200 MB: the limit is too wide for this test")
	}
	if code := h.weir.ExitCode(); code != -1 || !strings.Contains(h.lab.Output("weir"), "out of memory") {
		t.Fatalf("the agent ended with status %d", code)
	}
	h.mustStart()
	pinned := true
	rows, err := h.rows(control.Filter{Pinned: &pinned})
	if err != nil {
		t.Fatal(err)
	}
	for n := range told {
		if source := fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255); rows[source].Reason != "many" {
			t.Fatalf("of %d acknowledged pins that of %s is lost", told, source)
		}
	}
	t.Logf("%d pins acknowledged before the end, %d there afterwards", told, len(rows)-2)
}
