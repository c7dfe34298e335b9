package check

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/loader"
)

// mustMount mounts a file system of the test's own.
func mustMount(t *testing.T, kind, options string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), kind)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("weir", dir, kind, 0, options); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount %s: %v", kind, err)
		}
		t.Skipf("SKIPPED, NOT TESTED on a real %s: %v", kind, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestLookAtPins(t *testing.T) {
	dir := filepath.Join(mustMount(t, "bpf", "mode=0700"), "weir")
	if p := LookAtPins(dir); !p.OnBPFFS || p.Exists || p.NotSeen != nil {
		t.Errorf("before the first start: %+v", p)
	}
	for _, name := range []string{dir, filepath.Join(dir, "links"), filepath.Join(dir, "links", "clsact2")} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if p := LookAtPins(dir); !p.OnBPFFS || !p.Exists || p.Links != 1 || p.Mode != 0o700 {
		t.Errorf("with a pin: %+v", p)
	}
	if p := LookAtPins(t.TempDir()); p.OnBPFFS || !p.Exists {
		t.Errorf("elsewhere: %+v", p)
	}
}

func TestLookAtState(t *testing.T) {
	dir := mustMount(t, "tmpfs", "size=8m,mode=0700")
	for name, text := range map[string]string{"weir.db": "12345", "weir.db.counts-1": "123", "weir.db.counts-2": "12", "weir.db.corrupt-1": "x", "panic": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := LookAtState(dir)
	if s.NotSeen != nil || s.Missing || !s.Memory || !s.Panic || s.Store != 10 || len(s.Aside) != 1 || s.Mode != 0o700 || s.Free > 8<<20 || s.Free < 7<<20 || s.Files < 1 {
		t.Errorf("%+v", s)
	}
	if s := LookAtState(filepath.Join(dir, "not", "yet")); !s.Missing || !s.Memory || s.Free > 8<<20 {
		t.Errorf("before the first start: %+v", s)
	}
}

func TestLookAtUnit(t *testing.T) {
	u := LookAtUnit(func(name string, args ...string) (string, error) {
		if name != "systemctl" || args[0] != "show" || args[1] != "weir.service" {
			t.Errorf("asked %s %q", name, args)
		}
		return "LoadState=loaded\nUnitFileState=enabled\nRestrictAddressFamilies=AF_UNIX AF_NETLINK\nbroken\n", nil
	})
	if !u.IsEnabled() || u.Properties["LoadState"] != "loaded" || u.Properties["RestrictAddressFamilies"] != "AF_UNIX AF_NETLINK" {
		t.Errorf("%+v", u)
	}
	if u := LookAtUnit(func(string, ...string) (string, error) { return "", errors.New("no bus") }); u.NotSeen == nil || u.IsEnabled() {
		t.Errorf("without systemd: %+v", u)
	}
}

// TestLookAtThisKernel: what is found of the kernel that runs the tests is what
// weir needs, and looking leaves nothing behind.
func TestLookAtThisKernel(t *testing.T) {
	missing, err := loader.MissingCapabilities()
	if err != nil || len(missing) > 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v, %v", missing, err)
		}
		t.Skipf("SKIPPED, NOT TESTED against the kernel: %v are missing", missing)
	}
	k := LookAtKernel(os.DirFS("/"))
	if k.Program != nil || k.Sessions != nil || !strings.Contains(k.Release, ".") {
		t.Errorf("%+v", k)
	}
	f := well()
	f.Kernel = k
	b := &book{field: "kernel"}
	kernel(f, b)
	for _, x := range b.findings {
		if x.Severity == Error {
			t.Errorf("%s: %s", x.Subject, x.Seen)
		}
	}
	if c := LookAtClock(noon); c.NotSeen != nil || c.Zone != "UTC (+00:00)" {
		t.Errorf("%+v", c)
	}
	if p := LookAtPrivileges(); p.NotSeen != nil || len(p.Missing) != 0 {
		t.Errorf("%+v", p)
	}
}
