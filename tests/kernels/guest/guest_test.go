// Package guest holds tests of what this machine's own kernel and NICs cannot
// show. They run in the guests that `make test-kernels` boots (package
// kernels), and nowhere else.
package guest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/loader"
)

func needGuest(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_GUEST") == "" {
		t.Skip("runs in the guests of make test-kernels only")
	}
}

// release is the running kernel's, as uname -r says it.
func release(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

// isOld tells the kernel that weir must refuse.
func isOld(t *testing.T) bool { return strings.HasPrefix(release(t), "5.10.") }

// A kernel that lacks something is named, with what is needed, and nothing is
// left behind.
func TestOldKernelIsRefused(t *testing.T) {
	needGuest(t)
	if !isOld(t) {
		t.Skip("this kernel is not too old")
	}
	have := release(t)
	dir := t.TempDir()
	o := loader.DefaultOptions()
	o.Dir = "/sys/fs/bpf/weir"
	if _, err := loader.Open(o); !errors.Is(err, loader.ErrUnsupported) {
		t.Errorf("open datapath: %v, want ErrUnsupported", err)
	}

	config := filepath.Join(dir, "weir.toml")
	text := `mode = "enforce"
interfaces = ["lo"]
state_dir = "` + dir + `/state"
control_socket = "` + dir + `/control.sock"
bpffs = "` + o.Dir + `"
`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Getenv("WEIR_BINARY"), "run", "--config", config)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err == nil {
		t.Error("weir ran")
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, word := range []string{"Linux 5.18 or newer", have} {
		if !strings.Contains(said.String(), word) {
			t.Errorf("%q is not in what weir said:\n%s", word, said.String())
		}
	}
	t.Logf("weir said: %s", bytes.TrimSpace(said.Bytes()))
	if entries, err := os.ReadDir(o.Dir); err == nil {
		t.Errorf("left in %s: %v", o.Dir, entries)
	}
}
