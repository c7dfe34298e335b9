package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/intake/detect"
	"weir/userspace/protect"
)

// TestProtectedKinds: the configuration knows the words of those who find.
func TestProtectedKinds(t *testing.T) {
	want := protect.Kinds()
	got := slices.Clone(config.Default().Protect)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the configuration's words are %q, those of protect %q", got, want)
	}
}

// TestAdministratorsAreProtected: what is decided about them is listed and not
// in force, as long as they are logged in, and a wider pin spares them.
func TestAdministratorsAreProtected(t *testing.T) {
	b := newBench(t)
	b.enforcing()
	text := strings.Replace(mustRead(t, b.config), "protect = []\n", `protect = ["administrators"]`+"\n", 1)
	b.write(b.config, text)
	a := b.mustStart()
	a.finding.Lock()
	a.finder = protect.Finder{Sessions: filepath.Join(b.dir, "sessions")}
	a.finding.Unlock()
	if err := os.Mkdir(filepath.Join(b.dir, "sessions"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.write(filepath.Join(b.dir, "sessions", "1"), "UID=0\nSTATE=active\nREMOTE=1\nREMOTE_HOST=192.0.2.7\n")
	wide := pinOf("192.0.2.0/24")
	if err := a.Pin(t.Context(), []policy.Decision{pinOf("192.0.2.7/32"), wide}); err != nil {
		t.Fatal(err)
	}
	mustWait(t, "the administrator to be protected", func() bool {
		e, held := a.entry(pinOf("192.0.2.7/32").Prefix)
		return held && e.Action.String() == "allow"
	})
	mustHold(t, a, "192.0.2.0/24")
	e, err := a.Explain(t.Context(), pinOf("192.0.2.7/32").Target)
	if err != nil || e.Verdict != "allow" || len(e.Allow) != 1 || !strings.Contains(e.Allow[0].Reason, "administrator root") {
		t.Fatalf("%+v, %v", e, err)
	}
	for _, row := range mustRows(t, a, control.Filter{}) {
		if row.Source == "192.0.2.7" && !strings.Contains(row.OverriddenBy, "administrator root") {
			t.Errorf("the list says %+v", row)
		}
	}
}

// TestProxiesAreProtected: what is pinned about a proxy that Dovecot trusts is
// not in force, from the start on, and a wider pin spares it.
func TestProxiesAreProtected(t *testing.T) {
	b := newBench(t)
	b.enforcing()
	b.write(b.config, strings.Replace(mustRead(t, b.config), "protect = []\n", `protect = ["proxies"]`+"\n", 1))
	o := b.options()
	o.host = func() detect.Host {
		return detect.Host{FS: fstest.MapFS{"etc/dovecot/dovecot.conf": {Data: []byte("haproxy_trusted_networks = 192.0.2.7\n")}}}
	}
	a, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(a) })
	if err := a.Pin(t.Context(), []policy.Decision{pinOf("192.0.2.7/32"), pinOf("192.0.2.0/24")}); err != nil {
		t.Fatal(err)
	}
	if e, held := a.entry(pinOf("192.0.2.7/32").Prefix); !held || e.Action.String() != "allow" {
		t.Errorf("in the kernel the proxy is %v, %v", e, held)
	}
	mustHold(t, a, "192.0.2.0/24")
	e, err := a.Explain(t.Context(), pinOf("192.0.2.7/32").Target)
	if err != nil || e.Verdict != "allow" || len(e.Allow) != 1 || !strings.Contains(e.Allow[0].Reason, "a proxy that Dovecot trusts (haproxy_trusted_networks)") {
		t.Errorf("%+v, %v", e, err)
	}
}
