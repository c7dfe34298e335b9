package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"weir/policy"
	"weir/userspace/control"
)

// TestChangesAreSaidOnce: one line of the log for each change, with who asked.
func TestChangesAreSaidOnce(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	c := control.NewClient(a.config.ControlSocket, "test")
	defer c.Close()
	for what, change := range map[string]func() (control.Progress, error){
		"msg=pinned ": func() (control.Progress, error) {
			return c.Pin(t.Context(), control.Terms{Action: policy.Drop}, strings.NewReader("192.0.2.1\n192.0.2.2"), func(int) {})
		},
		"msg=unpinned ": func() (control.Progress, error) {
			return c.Unpin(t.Context(), strings.NewReader("192.0.2.1"), "", func(int) {})
		},
	} {
		before := lineCount(b.output.String())
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
		mustWait(t, what, func() bool { return strings.Contains(b.output.String(), what) })
		if said := b.output.String(); lineCount(said) != before+1 || !strings.Contains(said, "by=") {
			t.Errorf("%s: %s", what, said)
		}
	}
	mustStop(t, a)
}

// TestMistakesAreNoFaults: what a client asks wrongly is its own trouble and
// does not show among the agent's.
func TestMistakesAreNoFaults(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	c := control.NewClient(a.config.ControlSocket, "test")
	defer c.Close()
	if _, err := c.Pin(t.Context(), control.Terms{Action: policy.Drop}, strings.NewReader("nonsense"), func(int) {}); !errors.Is(err, control.ErrInvalid) {
		t.Fatal(err)
	}
	mustWait(t, "the log", func() bool { return strings.Contains(b.output.String(), "nonsense") })
	status, err := a.Status(t.Context())
	if err != nil || slices.ContainsFunc(status.Errors, func(f control.Fault) bool { return strings.Contains(f.Text, "nonsense") }) {
		t.Errorf("%+v, %v", status.Errors, err)
	}
	mustStop(t, a)
}
