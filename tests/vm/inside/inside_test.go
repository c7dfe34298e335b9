// Package inside holds what is seen on a Debian with weir's package, one test a
// boot. It runs in the guest of `make test-vm` (package vm), and nowhere else.
package inside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/tests/lab"
	"weir/userspace/control"
)

// Who knocks while the guest boots (package vm): one who is refused, and one
// whom nothing is said against.
var (
	attacker = netip.MustParseAddr("198.51.100.7")
	good     = netip.MustParseAddr("203.0.113.200")
)

// patience is for what is sure to come; an emulated machine is slow, the more so
// on one that has other work.
const patience = 4 * time.Minute

const (
	configuration = "/etc/weir/weir.toml"
	pinFolder     = "/sys/fs/bpf/weir"
	stateFolder   = "/var/lib/weir"
)

// host is the guest.
type host struct {
	*testing.T
	lab *lab.Lab
	run string // folder of the run
}

func mustHost(t *testing.T) *host {
	t.Helper()
	run := os.Getenv("WEIR_RUN")
	if os.Getenv("WEIR_GUEST") == "" || run == "" {
		t.Skip("runs in the guest of make test-vm only")
	}
	l, err := lab.OnHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &host{T: t, lab: l, run: run}
}

// step is what is seen next. What follows needs it.
func (h *host) step(name string, f func(h *host)) {
	h.Helper()
	if !h.T.Run(name, func(t *testing.T) { f(&host{T: t, lab: h.lab, run: h.run}) }) {
		h.Fatalf("after this, nothing else is worth looking at. weir's journal:\n%s", h.journal())
	}
}

// sh runs a command line and returns what it wrote.
func (h *host) sh(format string, args ...any) (string, error) {
	cmd := exec.Command("bash", "-c", fmt.Sprintf(format, args...))
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "SYSTEMD_PAGER=")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (h *host) must(format string, args ...any) string {
	h.Helper()
	out, err := h.sh(format, args...)
	if err != nil {
		h.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return out
}

func (h *host) want(want, format string, args ...any) {
	h.Helper()
	if got, _ := h.sh(format, args...); got != want {
		h.Errorf("%s: %q, want %q", fmt.Sprintf(format, args...), got, want)
	}
}

func (h *host) poll(what string, ready func() bool) {
	h.Helper()
	if err := lab.Poll(context.Background(), patience, what, ready); err != nil {
		h.Fatal(err)
	}
}

func (h *host) write(path, text string) {
	h.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		h.Fatal(err)
	}
}

func (h *host) journal() string {
	out, _ := h.sh("journalctl -b -u weir --no-pager -o cat | tail -n 40")
	return out
}

func (h *host) status() control.Status {
	h.Helper()
	var s control.Status
	if err := json.Unmarshal([]byte(h.must("weir status -o json")), &s); err != nil {
		h.Fatal(err)
	}
	return s
}

// wantActive wants the agent to run, in a mode, from the package old or new.
func (h *host) wantActive(mode, version string) {
	h.Helper()
	h.want("active", "systemctl is-active weir")
	s := h.status()
	if s.Mode != mode || s.Version != version {
		h.Errorf("weir %s runs in mode %s; want %s, %s", s.Version, s.Mode, version, mode)
	}
	if len(s.Errors) > 0 {
		h.Errorf("it reports errors: %+v", s.Errors)
	}
}

// wantReachable wants an address to get a connection, however long that takes, or
// none in three attempts.
func (h *host) wantReachable(want bool, from netip.Addr) {
	h.Helper()
	if want {
		h.poll(fmt.Sprintf("%s to reach port 587", from), func() bool { return h.lab.Reachable(h.Context(), from, 587) })
		return
	}
	for range 3 {
		if h.lab.Reachable(h.Context(), from, 587) {
			h.Errorf("%s reaches port 587", from)
			return
		}
	}
}

// submission opens a dialogue on port 587.
func (h *host) submission(from netip.Addr) (s *lab.SMTP) {
	h.Helper()
	h.poll(fmt.Sprintf("Postfix to speak with %s", from), func() (opened bool) {
		var err error
		s, err = h.lab.Submission(h.Context(), from, 587)
		return err == nil
	})
	return s
}

// version is that of a package.
func (h *host) version(name string) string {
	h.Helper()
	return strings.TrimSuffix(h.must("dpkg-deb -f %s/%s.deb Version", h.run, name), "-1")
}

func (h *host) install(name string) {
	h.Helper()
	out := h.must("dpkg -i %s/%s.deb", h.run, name)
	if strings.Contains(strings.ToLower(out), "warning") {
		h.Errorf("dpkg warns:\n%s", out)
	}
}

// guess tries one wrong password for each of twenty users, at the same time.
func (h *host) guess(from netip.Addr) {
	h.Helper()
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			s, err := h.lab.Submission(h.Context(), from, 587)
			if err != nil { // refused already
				return
			}
			defer s.Close()
			_ = s.Auth(fmt.Sprintf("user%d", n), "wrong")
		})
	}
	all.Wait()
}

// listed reports whether weir lists a source, with this rule.
func (h *host) listed(from netip.Addr, rule string) bool {
	out, err := h.sh("weir list -o csv")
	if err != nil {
		return false
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, from.String()) && strings.Contains(line, rule) {
			return true
		}
	}
	return false
}

// wantOwned wants files to belong to weir's user.
func (h *host) wantOwned(folders ...string) {
	h.Helper()
	h.want("", "find %s ! -user weir", strings.Join(folders, " "))
}
