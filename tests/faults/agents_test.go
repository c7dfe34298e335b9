package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTwoAgents starts a second one that has something in common with the
// first. It is refused with a remedy, and the first goes on unharmed.
func TestTwoAgents(t *testing.T) {
	h := mustHost(t, "")
	h.blocked()
	config, err := os.ReadFile(h.weir.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		own  []string // what the second has of its own
		want string
	}{
		{"all in common", nil, "the store is in use by another process"},
		{"the folder of state", []string{"control.sock", "bpf/weir"}, "the store is in use by another process"},
		{"the socket", []string{"state", "bpf/weir"}, "another weir is listening"},
		{"the pins", []string{"state", "control.sock"}, "another agent is running"},
	} {
		text := string(config)
		for _, place := range test.own {
			text = strings.ReplaceAll(text, `"`+h.lab.Path(place)+`"`, `"`+h.lab.Path(place)+`2"`)
		}
		path := filepath.Join(t.TempDir(), "weir.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out []byte
		cmd := exec.Command(built, "run", "--config", path)
		if err := h.lab.Mail.Do(func() (err error) { out, err = cmd.CombinedOutput(); return err }); err == nil {
			t.Errorf("%s: the second agent ran", test.name)
		}
		last := string(out[strings.LastIndex(strings.TrimSpace(string(out)), "\n")+1:])
		if !strings.Contains(last, test.want) || !strings.Contains(last, ":") {
			t.Errorf("%s: it said %s", test.name, last)
		}
		t.Logf("%s: %s", test.name, strings.TrimSpace(last))
	}
	h.observer(string(config))
	h.fail("10.0.0.1", 5)
	h.mustPoll("the first agent to flag", func() bool {
		_, found, err := h.weir.Find(t.Context(), "10.0.0.1")
		return err == nil && found
	})
	if s := h.mustStatus(); s.PID != h.weir.PID() || len(s.Errors) > 1 {
		t.Errorf("status: %+v", s.Errors)
	}
}

// observer runs a second agent with the first one's pins that only observes: it
// must not take for leftovers what the first has in force.
func (h *host) observer(config string) {
	h.Helper()
	for _, change := range [][2]string{{`mode = "enforce"`, `mode = "observe"`}, {h.lab.Path("state"), h.lab.Path("state2")}, {h.lab.Path("control.sock"), h.lab.Path("control2.sock")}} {
		config = strings.ReplaceAll(config, change[0], change[1])
	}
	path := h.lab.Path("observer.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		h.Fatal(err)
	}
	p, err := h.lab.Start(h.lab.Mail, "observer", exec.Command(built, "run", "--config", path))
	if err != nil {
		h.Fatal(err)
	}
	h.mustPoll("the second agent to run", func() bool { return strings.Contains(h.lab.Output("observer"), "weir runs") })
	if err := p.Stop(); err != nil {
		h.Error(err)
	}
	h.Logf("one that observes: %s", h.lab.Output("observer"))
}
