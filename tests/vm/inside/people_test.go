package inside

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weir/userspace/audit"
	"weir/userspace/check"
)

// lookAsOthers has the agent's user, an operator, a reader and a stranger look,
// change and examine: each may what docs/security.md says. Nobody's examination
// raises an alarm for want of permission, and the audit has who changed what.
func (h *host) lookAsOthers() {
	const target = "198.51.100.99"
	h.must("useradd -G weir operates && useradd -G weir-read reads")
	var changed []string
	for _, user := range []struct {
		name         string
		look, change int // exit codes
	}{{"weir", 0, 0}, {"operates", 0, 0}, {"reads", 0, 4}, {"nobody", 4, 4}} {
		as := func(want int, command string) {
			h.Helper()
			out, _ := h.sh("runuser -u %s -- weir %s; echo $?", user.name, command)
			if got := out[strings.LastIndex(out, "\n")+1:]; got != fmt.Sprint(want) {
				h.Errorf("%s: weir %s ends with %s, want %d:\n%s", user.name, command, got, want, out)
			}
		}
		as(user.look, "status")
		as(user.look, "list")
		as(user.change, "pin "+target+" --action drop --reason 'wanted it'")
		as(user.change, "unpin "+target)
		if user.change == 0 {
			changed = append(changed, "pinned "+user.name+" wanted it", "unpinned "+user.name+" ")
		}
		h.wantNoAlarm("runuser -u " + user.name + " -- weir check -o json")
	}
	if got := h.audited(target); !slices.Equal(got, changed) {
		h.Errorf("the audit has %q, want %q", got, changed)
	}
	h.want("-rw------- weir weir", "stat -c '%%A %%U %%G' %s/%s", stateFolder, audit.FileName)

	h.must("logrotate -f /etc/logrotate.d/weir")
	h.must("weir pin %s --action drop && weir unpin %s", target, target)
	if got, want := h.audited(target), []string{"pinned root ", "unpinned root "}; !slices.Equal(got, want) {
		h.Errorf("after it was rotated the audit has %q, want %q", got, want)
	}
	h.want("-rw------- weir weir\n-rw------- weir weir", "stat -c '%%A %%U %%G' %s/%s*", stateFolder, audit.FileName)
}

// wantNoAlarm wants weir check to run, and to find no error.
func (h *host) wantNoAlarm(command string) {
	h.Helper()
	out, _ := h.sh("%s 2>/dev/null", command)
	var report check.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Findings) == 0 {
		h.Errorf("%s: %v\n%s", command, err, out)
	}
	for _, f := range report.Findings {
		if f.Severity == check.Error {
			h.Errorf("%s: %s, %s: %s", command, f.Field, f.Subject, f.Seen)
		}
	}
}

// audited returns the changes on a target: what, by whom and why.
func (h *host) audited(target string) (changes []string) {
	h.Helper()
	f, err := os.Open(filepath.Join(stateFolder, audit.FileName))
	if err != nil {
		h.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var line struct{ Change, By, Reason string }
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			h.Fatalf("the audit has %q: %v", in.Text(), err)
		}
		if strings.Contains(in.Text(), target) {
			changes = append(changes, strings.Join([]string{line.Change, line.By, line.Reason}, " "))
		}
	}
	return changes
}

// removePinFolder removes the folder of pins, which the agent cannot make again
// from within its unit: it says so, goes on, and is mended as it says.
func (h *host) removePinFolder() {
	version := h.status().Version
	h.must("rm -r %s", pinFolder)
	h.poll("that to be told", func() bool {
		r := h.status().ReadBack
		return r != nil && strings.Contains(r.Standing, "was removed, and cannot be made again")
	})
	for _, command := range []string{"weir status", "weir check --least error"} {
		out, _ := h.sh("%s", command)
		for _, want := range []string{pinFolder, "removed", "systemctl restart weir"} {
			if !strings.Contains(out, want) {
				h.Errorf("%s does not say %q:\n%s", command, want, out)
			}
		}
	}
	h.wantReachable(false, attacker)
	h.must("systemctl restart weir")
	h.wantActive("enforce", version)
	h.wantReachable(false, attacker)
	h.wantOwned(pinFolder)
	if r := h.status().ReadBack; r == nil || r.Standing != "" {
		h.Errorf("after the restart: %+v", r)
	}
	h.wantNoAlarm("weir check -o json")
}
