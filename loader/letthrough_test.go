package loader

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLetThrough has the kernel pass everything without whoever loaded the
// program, who puts nothing right as long as that is wanted.
func TestLetThrough(t *testing.T) {
	needKernel(t)
	ns, far := newNamespace(t), newNamespace(t)
	ns.quiet(t)
	far.quiet(t)
	veth(t, ns, "eth0", far, "far0")
	d := dropped(t)
	wanted := true
	d.letThrough = func() bool { return wanted }
	look := func() Checks {
		ns.do(t, func() { must(d.sync([]string{"eth0"})) })
		return d.Checks()
	}
	look()
	var out int
	far.do(t, func() { out = packetSocket("far0") })
	defer unix.Close(out)
	send := func() { must(unix.Write(out, syn4(""))) }
	wantCounted(t, d, "dropped", 54, send)

	mustDo(t, LetThrough(d.pins.dir))
	wantCounted(t, d, "other_port", 54, send)
	if got := look(); got.Differences != 0 {
		t.Errorf("what was let through was put right: %+v", got)
	}
	wantCounted(t, d, "other_port", 54, send)

	wanted = false
	if got := look(); got.Differences != 1 || got.Repaired != 1 {
		t.Errorf("what nobody wants any more: %+v", got)
	}
	wantCounted(t, d, "dropped", 54, send)
}

func TestLetThroughWithoutPins(t *testing.T) {
	if err := LetThrough(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}
