package faults

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/tests/lab"
	"weir/userspace/control"
)

// From linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// mustDisk puts state_dir on a disk of its own.
func mustDisk(t *testing.T, l *lab.Lab) {
	t.Helper()
	dir, image := l.Path("state"), l.Path("disk.img")
	for _, step := range []func() error{
		func() error { return os.MkdirAll(dir, 0o700) },
		func() error { return os.WriteFile(image, nil, 0o600) },
		func() error { return os.Truncate(image, 64<<20) },
		func() error { return exec.Command("mkfs.ext4", "-q", image).Run() },
		func() error { return exec.Command("mount", "-o", "loop", image, dir).Run() },
	} {
		if err := step(); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("make a disk: %v", err)
			}
			t.Skipf("SKIPPED, nothing was tested: no disk can be made: %v", err)
		}
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", "-l", dir).Run(); err != nil {
			t.Errorf("umount: %v", err)
		}
	})
}

// TestDiskHangs freezes the disk under the store, so that every write waits.
// What is decided is in force at once all the same; what needs to be durable is
// not acknowledged before it is.
func TestDiskHangs(t *testing.T) {
	h := mustHostOn(t, "", mustDisk)
	h.blocked()
	f, err := os.Open(h.lab.Path("state"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	if err := unix.IoctlSetInt(fd, fiFreeze, 0); err != nil {
		t.Fatalf("freeze the disk: %v", err)
	}
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			if err := unix.IoctlSetInt(fd, fiThaw, 0); err != nil {
				t.Errorf("thaw the disk: %v", err)
			}
		}
	}
	defer thaw()

	h.fail("10.0.0.1", 5)
	begun := time.Now()
	h.mustPoll("a flag while the disk hangs", func() bool {
		_, found, err := h.weir.Find(t.Context(), "10.0.0.1")
		return err == nil && found
	})
	t.Logf("flagged and listed within %s", time.Since(begun).Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := h.client.Pin(ctx, control.Terms{Action: policy.Drop, Reason: "hung"}, strings.NewReader("10.0.0.2"), func(int) {}); err == nil {
		t.Error("a pin was acknowledged that the disk does not hold")
	}
	h.mustStatus()
	thaw()
	if _, err := h.client.Pin(t.Context(), control.Terms{Action: policy.Drop, Reason: "again"}, strings.NewReader("10.0.0.2"), func(int) {}); err != nil {
		t.Errorf("after the disk came back: %v", err)
	}
	h.mustSurvive("10.0.0.1", "10.0.0.2")
}

// TestDiskReadOnly takes the right to write away, as the kernel does after an
// error of the medium. Enforcement and decisions go on, and it is said.
func TestDiskReadOnly(t *testing.T) {
	h := mustHostOn(t, "", mustDisk)
	h.blocked()
	dir := h.lab.Path("state")
	// Files that are open for writing keep a disk from that, so it is done as
	// by an error: the file system stops writing (ext4(5), abort).
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "abort"); err != nil {
		t.Fatal(err)
	}
	h.fail("10.0.0.1", 5)
	h.mustPoll("a flag while the disk takes nothing", func() bool {
		_, found, err := h.weir.Find(t.Context(), "10.0.0.1")
		return err == nil && found
	})
	h.mustPoll("it to be said", func() bool {
		out, err := h.weir.Run(t.Context(), "status")
		return err == nil && strings.Contains(out, "read-only file system")
	})

	// Mounted again, as after a repair: what was decided meanwhile is still in
	// the log, and is judged as it was.
	if err := h.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"umount", h.lab.Path("state")}, {"mount", "-o", "loop", h.lab.Path("disk.img"), h.lab.Path("state")}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	h.mustStart()
	h.mustSurvive("10.0.0.1")
}

// mustSurvive kills the agent and sees that these sources are listed after it.
func (h *host) mustSurvive(sources ...string) {
	h.Helper()
	if err := h.weir.Kill(); err != nil {
		h.Fatal(err)
	}
	h.mustStart()
	rows, err := h.rows(control.Filter{})
	if err != nil {
		h.Fatal(err)
	}
	for _, source := range append(sources, pinned4.String(), flagged4.String()) {
		if _, stands := rows[source]; !stands {
			h.Errorf("%s is lost", source)
		}
	}
}
