package faults

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
	"weir/tests/lab/labtest"
)

// TestSecondAgent starts another agent beside the first, which shares one thing
// with it or all. It is refused and says what is taken; the first one goes on
// unharmed.
func TestSecondAgent(t *testing.T) {
	s := mustRun(t, rules)
	s.mustPin(pinned4)
	probe := s.mustProbe(pinned4)
	first := s.mustStatus()
	text, err := os.ReadFile(s.weir.Config)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string][2]string{
		"store":  {s.lab.Path("state"), s.lab.Path("state2")},
		"socket": {s.lab.Path("control.sock"), s.lab.Path("control2.sock")},
		"pins":   {s.lab.Path("bpf", "weir"), s.lab.Path("bpf", "weir2")},
	}
	for _, c := range []struct {
		shares string
		own    []string
		words  []string // that the second one must say
	}{
		{"everything", nil, []string{"weir.db", "second agent"}},
		{"the store", []string{"socket", "pins"}, []string{"weir.db", "second agent"}},
		{"the control socket", []string{"store", "pins"}, []string{"control.sock", "control_socket"}},
		{"the pins", []string{"store", "socket"}, []string{s.lab.Path("bpf", "weir"), "another"}},
		{"the pins and the control socket", []string{"store"}, []string{"control.sock", "control_socket"}},
		{"the pins and the store", []string{"socket"}, []string{"weir.db", "second agent"}},
	} {
		other := string(text)
		for _, name := range c.own {
			other = strings.ReplaceAll(other, `"`+own[name][0]+`"`, `"`+own[name][1]+`"`)
		}
		config := s.lab.Path("second.toml")
		if err := os.WriteFile(config, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), built, "run", "--config", config)
		var out []byte
		begun := time.Now()
		err := s.lab.Mail.Do(func() (err error) { out, err = cmd.CombinedOutput(); return })
		if lab.ExitCode(err) < 1 {
			t.Errorf("shares %s: ended with %v", c.shares, err)
		}
		last := labtest.Tail(strings.TrimSpace(string(out)), 1)
		t.Logf("shares %s: after %v: %s", c.shares, time.Since(begun).Round(time.Millisecond), last)
		for _, word := range c.words {
			if !strings.Contains(last, word) {
				t.Errorf("shares %s: %q is not in %q", c.shares, word, last)
			}
		}
		now := s.mustStatus()
		if now.PID != first.PID || now.Interfaces[0].Mode != "native" || now.ReadBack.Differences != 0 {
			t.Errorf("shares %s: the first one is harmed: %+v", c.shares, now)
		}
		s.mustPin(good4)
		if err := unpin(t.Context(), s.client, good4.String()); err != nil {
			t.Error(err)
		}
	}
	if n := s.mustKnock(probe, 100); n != 0 {
		t.Errorf("%d packets of %d got through", n, probe.Sent())
	}
	s.mustKill()
	s.mustStart()
	if pins, _, err := listed(t.Context(), s.client); err != nil || len(pins) != 1 {
		t.Errorf("after a restart %v, %v", pins, err)
	}
}
