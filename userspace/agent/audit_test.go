package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weir/userspace/audit"
	"weir/userspace/config"
	"weir/userspace/control"
)

// audited returns what the audit log of b says, in short.
func (b *bench) audited() (all []string) {
	b.t.Helper()
	f, err := os.Open(filepath.Join(b.dir, "state", audit.FileName))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var r struct {
			Change, By, Reason string
			Keys               []string
		}
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			b.t.Fatalf("%q: %v", in.Text(), err)
		}
		all = append(all, fmt.Sprintf("%s %v %s: %s", r.Change, r.Keys, r.By, r.Reason))
	}
	return all
}

// TestAudit is what changes without a client: by files, by signals, and by a
// command that no agent answers.
func TestAudit(t *testing.T) {
	b := newBench(t)
	a := b.mustStart()
	b.extra = "ports = [25]\n"
	b.allow = "203.0.113.0/24"
	b.configure()
	a.reload()
	b.write(b.config, "nonsense")
	a.reload() // changes nothing
	b.configure()

	file := filepath.Join(b.dir, "state", panicFile)
	b.write(file, "")
	a.lookAtHold()
	a.lookAtHold()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.lookAtHold()
	c, err := config.Load(b.config)
	if err == nil {
		err = PanicAlone(c, control.Panic{By: "carol", Reason: "it hangs"})
	}
	if err != nil {
		t.Fatal(err)
	}
	a.lookAtHold()
	if err := LiftAlone(c, control.Panic{By: "carol", Reason: "mended"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"configuration reloaded [ports allow] : ",
		"panic [] : there is a file",
		"panic lifted [] : the file is gone",
		"panic [] carol: it hangs",
		"panic lifted [] carol: mended",
	}
	if got := b.audited(); !slices.Equal(got, want) {
		t.Errorf("audited %q, want %q", got, want)
	}
}
