package faults

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/tests/lab"
)

// disk is an ext4 file system of its own under state_dir.
type disk struct {
	*stage
	image, dir string
}

func mustDisk(s *stage) *disk {
	s.Helper()
	d := &disk{stage: s, image: s.lab.Path("disk.img"), dir: s.lab.Path("state")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		s.Fatal(err)
	}
	d.must("truncate", "-s", "32M", d.image)
	d.must("mkfs.ext4", "-q", "-F", d.image)
	d.mount()
	s.Cleanup(func() {
		if s.weir.Process != nil {
			_ = s.weir.Kill() // it may have ended
		}
		d.must("umount", d.dir)
	})
	return d
}

func (d *disk) mount() {
	d.Helper()
	d.must("mount", "-o", "loop", d.image, d.dir)
}

func (d *disk) must(name string, args ...string) {
	d.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// Whoever writes to a frozen file system waits until it is thawed (linux/fs.h:
// FIFREEZE, FITHAW).
const (
	freeze = 0xc0045877
	thaw   = 0xc0045878
)

func (d *disk) ioctl(what uint) {
	d.Helper()
	f, err := os.Open(d.dir)
	if err == nil {
		err = unix.IoctlSetInt(int(f.Fd()), what, 0)
		_ = f.Close()
	}
	if err != nil {
		d.Fatal(err)
	}
}

// TestDiskThatHangs freezes the disk under the store. Everything is decided and
// enforced, and commands are answered; only what has to be durable waits.
func TestDiskThatHangs(t *testing.T) {
	s := mustStage(t, rules)
	d := mustDisk(s)
	s.mustStart()
	s.mustPin(pinned4)
	blocked, guesser, other := s.mustProbe(pinned4), s.mustProbe(guesser4), s.mustProbe(good4)

	d.ioctl(freeze)
	frozen := true
	defer func() {
		if frozen {
			d.ioctl(thaw)
		}
	}()
	s.mustLog(failure(guesser4) + failure(guesser4) + failure(guesser4))
	acknowledged := make(chan error, 1)
	go func() {
		acknowledged <- pin(context.WithoutCancel(t.Context()), s.client, good4.String(), "while the disk hangs")
	}()
	for name, p := range map[string]*lab.Probe{"the guesser": guesser, "the pinned source": other} {
		s.mustPoll(lab.Patience, name+" to be dropped", func() bool {
			before := p.Through()
			return s.mustKnock(p, 50) == before
		})
	}
	begun := time.Now()
	status := s.mustStatus()
	t.Logf("status after %v: %d decisions, store %q", time.Since(begun).Round(time.Millisecond), status.Decisions.Total, status.Store.Error)
	if status.Decisions.Total != 3 {
		t.Errorf("%d decisions stand, want 3", status.Decisions.Total)
	}
	select {
	case err := <-acknowledged:
		t.Errorf("a pin was acknowledged that no disk has: %v", err)
	default:
	}
	d.ioctl(thaw)
	frozen = false
	if err := <-acknowledged; err != nil {
		t.Errorf("after the disk works again: %v", err)
	}
	if n := s.mustKnock(blocked, 50); n != 0 {
		t.Errorf("%d packets got through", n)
	}
	s.mustKill()
	s.mustStart()
	if pins, _, err := listed(t.Context(), s.client); err != nil || len(pins) != 2 {
		t.Errorf("after a kill: %v, %v", pins, err)
	}
}

// TestReadOnlyDisk has the kernel make the store's file system read-only, as it
// does after an error of the disk. Enforcement goes on, and both the command
// and the status say what is wrong; a start on such a disk says it as well, and
// leaves in force what is.
func TestReadOnlyDisk(t *testing.T) {
	s := mustStage(t, rules)
	d := mustDisk(s)
	s.mustStart()
	s.mustPin(pinned4)
	blocked, guesser := s.mustProbe(pinned4), s.mustProbe(guesser4)

	d.must("mount", "-o", "remount,abort", d.dir) // ext4(5): as if it had met an error
	err := pin(t.Context(), s.client, good4.String(), "while the disk is read-only")
	if err == nil || !strings.Contains(err.Error(), "in force, but not stored yet") {
		t.Errorf("pinned: %v", err)
	}
	s.mustLog(failure(guesser4) + failure(guesser4) + failure(guesser4))
	s.mustPoll(lab.Patience, "the guesser to be dropped", func() bool {
		before := guesser.Through()
		return s.mustKnock(guesser, 50) == before
	})
	status := s.mustStatus()
	t.Logf("the command says %q, status %q", err, status.Store.Error)
	if !strings.Contains(status.Store.Error, "not stored yet") {
		t.Errorf("status says %q", status.Store.Error)
	}

	s.mustKill()
	d.must("umount", d.dir)
	d.mount() // which has the journal repair what the abort left
	d.must("mount", "-o", "remount,ro", d.dir)
	if err := s.weir.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("started on a disk that is read-only: %v", err)
	}
	if n := s.mustKnock(blocked, 50); n != 0 {
		t.Errorf("%d packets got through", n)
	}
	d.must("mount", "-o", "remount,rw", d.dir)
	s.mustStart()
	pins, decisions, err := listed(t.Context(), s.client)
	if err != nil || len(pins) != 1 {
		t.Errorf("what was acknowledged is not what is there: %v, %v", pins, err)
	}
	t.Logf("after the restart: %d pins, %d decisions", len(pins), len(decisions))
	s.mustPoll(lab.Patience, "the guesser to be decided on again, out of the log", func() bool {
		_, decisions, err := listed(t.Context(), s.client)
		return err == nil && len(decisions) == 1
	})
	if n := s.mustKnock(blocked, 50); n != 0 {
		t.Errorf("%d packets got through", n)
	}
}
