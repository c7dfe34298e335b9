// Package machine boots guests in QEMU under plain emulation, on kernels of
// Debian, and reads what Go tests say in them.
//
// A guest sees this machine's files by virtiofs, read-only: all of them, with
// memory laid over, as its own, or some folders, beside a disk of its own
// (init.sh). What it writes to its second serial port is what it says.
package machine

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed init.sh
var initScript []byte

// Guest is a machine to be booted.
type Guest struct {
	Kernel  string   // folder of the unpacked kernel, named as its release (tests/setup.sh kernels)
	Run     string   // folder with guest.sh, which begins what is to be done
	Shared  []string // folders that the guest may need, outer ones first; "/" for all without a Disk
	Disk    string   // image of the root file system, which stays as it is; empty: this machine's files
	Memory  int      // MiB
	Devices []string // more of QEMU's arguments
}

// Joined are two NICs of one network: eth0 and eth1 of a guest whose
// interfaces keep the kernel's names.
func Joined() []string {
	return []string{
		"-netdev", "hubport,id=one,hubid=0", "-device", "virtio-net-pci,netdev=one,mac=52:54:00:00:00:01",
		"-netdev", "hubport,id=two,hubid=0", "-device", "virtio-net-pci,netdev=two,mac=52:54:00:00:00:02",
	}
}

// neededModules is what files come through.
func neededModules() []string {
	return []string{"virtio_pci", "virtiofs", "overlay", "virtio_blk", "ext4"}
}

// Boot runs a guest until it switches itself off, and returns what it wrote.
// It has to have written "guest: done". Where ctx ends first, Boot returns what
// was written until then. A guest with a disk may reboot, and finds what it
// changed there.
func (g Guest) Boot(ctx context.Context) (out []byte, err error) {
	release := filepath.Base(g.Kernel)
	dir, err := os.MkdirTemp(g.Run, "guest-")
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(dir, "initrd")
	if err := g.writeInitrd(ctx, dir, initrd); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "files.sock")
	files, err := g.share(dir, socket)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = files.Process.Kill() // it ends by itself when the guest has
		_ = files.Wait()
	}()
	console := filepath.Join(dir, "console")
	output := filepath.Join(dir, "output")
	memory := fmt.Sprintf("%dM", g.Memory)
	arguments := fmt.Sprintf("console=ttyS0 quiet panic=-1 net.ifnames=0 weir.modules=%s weir.run=%s",
		filepath.Join(g.Kernel, "lib", "modules"), g.Run)
	// One CPU of the guest after the other: see docs/decisions/kernels.md.
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=single", "-cpu", "max",
		"-smp", "2", "-m", memory, "-object", "memory-backend-memfd,id=memory,share=on,size="+memory,
		"-nodefaults", "-display", "none", "-device", "virtio-rng-pci",
		"-kernel", filepath.Join(g.Kernel, "boot", "vmlinuz-"+release), "-initrd", initrd,
		"-chardev", "socket,id=files,path="+socket, "-device", "vhost-user-fs-pci,chardev=files,tag=files",
		"-serial", "file:"+console, "-serial", "file:"+output)
	if g.Disk != "" {
		arguments += " weir.disk"
		qemu.Args = append(qemu.Args, "-drive", "if=virtio,format=raw,snapshot=on,file="+g.Disk)
	} else {
		qemu.Args = append(qemu.Args, "-no-reboot")
	}
	qemu.Args = append(append(qemu.Args, "-append", arguments), g.Devices...)
	// Taps of the guest's NICs come into a network of their own.
	qemu.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	said, err := qemu.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end in time: %w", ctx.Err())
	}
	out, unread := os.ReadFile(output)
	err = errors.Join(err, unread)
	if err == nil && !bytes.Contains(out, []byte("guest: done")) {
		err = errors.New("it ended before it was done")
	}
	if err != nil {
		text, _ := os.ReadFile(console)
		err = fmt.Errorf("guest: %w\n%s\nits console:\n%s\nits output:\n%s", err, said, Last(text), Last(out))
	}
	return out, err
}

// Last returns the end of a text.
func Last(text []byte) []byte { return text[max(0, len(text)-3000):] }

// share starts virtiofsd on a read-only view of this machine, in a mount
// namespace of its own, and returns when it listens.
func (g Guest) share(dir, socket string) (*exec.Cmd, error) {
	view := filepath.Join(dir, "view")
	if err := os.Mkdir(view, 0o755); err != nil {
		return nil, err
	}
	script := "set -e; mount --make-rprivate /\n"
	for _, m := range g.Shared {
		script += fmt.Sprintf("mkdir -p '%[2]s' 2>/dev/null || :\nmount -o bind,ro '%[1]s' '%[2]s'\n", m, filepath.Join(view, m))
	}
	script += fmt.Sprintf("exec /usr/lib/qemu/virtiofsd --socket-path='%s' -o source='%s' -o sandbox=chroot -o cache=always", socket, view)
	cmd := exec.Command("sh", "-c", script)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("share files: %w", err)
	}
	for range 100 {
		if _, err := os.Stat(socket); err == nil {
			return cmd, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, fmt.Errorf("share files: virtiofsd does not listen: %s", said.String())
}

// writeInitrd writes the first file system of the guest: busybox, init.sh, and
// the modules that are needed until it sees this machine's.
func (g Guest) writeInitrd(ctx context.Context, dir, file string) error {
	root := filepath.Join(dir, "initrd.d")
	for _, d := range []string{"bin", "dev", "files", "memory", "modules", "proc", "root"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("%w; run tests/setup.sh kernels", err)
	}
	for name, content := range map[string][]byte{"bin/busybox": busybox, "init": initScript} {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o755); err != nil {
			return err
		}
	}
	modules, err := g.modules(ctx)
	if err != nil {
		return err
	}
	for i, m := range modules {
		content, err := os.ReadFile(m)
		if strings.HasSuffix(m, ".xz") {
			content, err = exec.CommandContext(ctx, "xz", "-dc", m).Output()
		}
		if err != nil {
			return fmt.Errorf("read module %s: %w", m, err)
		}
		name := fmt.Sprintf("%02d-%s", i, strings.TrimSuffix(filepath.Base(m), ".xz"))
		if err := os.WriteFile(filepath.Join(root, "modules", name), content, 0o644); err != nil {
			return err
		}
	}
	pack := exec.CommandContext(ctx, "sh", "-c", `cd "$0" && find . | cpio --quiet -o -H newc >"$1"`, root, file)
	if said, err := pack.CombinedOutput(); err != nil {
		return fmt.Errorf("pack initrd: %w: %s", err, said)
	}
	return nil
}

// modules returns the files of the needed modules, in the order in which they
// must be loaded (modprobe(8), --show-depends).
func (g Guest) modules(ctx context.Context) ([]string, error) {
	args := append([]string{"-S", filepath.Base(g.Kernel), "-d", g.Kernel, "--show-depends", "-a"}, neededModules()...)
	out, err := exec.CommandContext(ctx, "modprobe", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("find modules of %s: %w", g.Kernel, err)
	}
	var files []string
	seen := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		// "insmod FILE OPTIONS", or "builtin NAME"
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "insmod" || seen[words[1]] {
			continue
		}
		seen[words[1]] = true
		files = append(files, words[1])
	}
	return files, nil
}
