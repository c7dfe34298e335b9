package main

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

//go:embed guest.sh
var guestScript []byte

// guest is a machine to be booted.
type guest struct {
	kernel string   // folder of the unpacked kernel, named as its release
	run    string   // folder with guest.sh and its plan
	shared []string // mounts that the guest may need, outer ones first
}

// needed modules: what the files of this machine come through.
var needed = []string{"virtio_pci", "virtiofs", "overlay"}

// boot runs a guest to its end, and returns what it wrote. Where ctx ends
// first, that is what it wrote until then.
func boot(ctx context.Context, g guest) (out []byte, err error) {
	release := filepath.Base(g.kernel)
	dir, err := os.MkdirTemp(g.run, "guest-")
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
	// One CPU of the guest after the other: see docs/decisions/kernels.md.
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-machine", "q35,memory-backend=memory", "-accel", "tcg,thread=single", "-cpu", "max",
		"-smp", "2", "-m", "2G", "-object", "memory-backend-memfd,id=memory,size=2G,share=on",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(g.kernel, "boot", "vmlinuz-"+release), "-initrd", initrd,
		"-append", fmt.Sprintf("console=ttyS0 quiet panic=-1 weir.modules=%s weir.run=%s", filepath.Join(g.kernel, "lib", "modules"), g.run),
		"-chardev", "socket,id=files,path="+socket, "-device", "vhost-user-fs-pci,chardev=files,tag=files",
		"-serial", "file:"+console, "-serial", "file:"+output)
	qemu.Args = append(qemu.Args, nics...)
	// Taps of the guest's NICs come into a network of their own.
	qemu.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	said, err := qemu.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end in time: %w", ctx.Err())
	}
	out, unread := os.ReadFile(output)
	err = errors.Join(err, unread)
	if err == nil && !bytes.Contains(out, []byte("guest: done")) {
		err = errors.New("it ended before its tests did")
	}
	if err != nil {
		text, _ := os.ReadFile(console)
		err = fmt.Errorf("guest: %w\n%s\nits console:\n%s\nits output:\n%s", err, said, last(text), last(out))
	}
	return out, err
}

// last returns the end of a text.
func last(text []byte) []byte { return text[max(0, len(text)-3000):] }

// share starts virtiofsd on a read-only view of this machine, in a mount
// namespace of its own, and returns when it listens.
func (g guest) share(dir, socket string) (*exec.Cmd, error) {
	view := filepath.Join(dir, "view")
	if err := os.Mkdir(view, 0o755); err != nil {
		return nil, err
	}
	script := "set -e; mount --make-rprivate /\n"
	for _, m := range g.shared {
		script += fmt.Sprintf("mount -o bind,ro '%s' '%s'\n", m, filepath.Join(view, m))
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
func (g guest) writeInitrd(ctx context.Context, dir, file string) error {
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
func (g guest) modules(ctx context.Context) ([]string, error) {
	args := append([]string{"-S", filepath.Base(g.kernel), "-d", g.kernel, "--show-depends", "-a"}, needed...)
	out, err := exec.CommandContext(ctx, "modprobe", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("find modules of %s: %w", g.kernel, err)
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
