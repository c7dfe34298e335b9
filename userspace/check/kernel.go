package check

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"weir/loader"
)

// Kernel is what the running kernel can.
type Kernel struct {
	Release  string
	Program  error  // of loading the program; nil: it is taken
	Sessions error  // of closing a session
	TCX      bool   // it has it
	BTF      bool   // it describes its own types
	JIT      string // of bpf_jit_enable; "" if NoJIT
	NoJIT    error  // why it is not known
}

// LookAtKernel asks the kernel. It loads the program and lets go of it; no
// packet meets it.
func LookAtKernel(root fs.FS) Kernel {
	k := Kernel{Release: loader.Release(), Program: loader.TryProgram(), Sessions: loader.TryDestroy(), TCX: loader.HaveTCX()}
	_, err := fs.Stat(root, "sys/kernel/btf/vmlinux")
	k.BTF = err == nil
	jit, err := fs.ReadFile(root, "proc/sys/net/core/bpf_jit_enable")
	k.JIT, k.NoJIT = strings.TrimSpace(string(jit)), err
	return k
}

func kernel(f *Facts, b *book) {
	k := &f.Kernel
	switch {
	case !loader.AtLeast(k.Release, 5, 18):
		b.add(Error, "release", "Linux 5.18 or later is needed (Debian 12 has 6.1)", "%s", k.Release)
	case !loader.AtLeast(k.Release, 6, 1):
		b.add(Note, "release", "", "%s; the oldest that weir is tested on is 6.1", k.Release)
	default:
		b.ok("release", "%s", k.Release)
	}
	switch {
	case k.Program == nil:
		b.ok("program", "the kernel takes weir's program")
	case errors.Is(k.Program, loader.ErrPermission):
		b.unseen("program", errors.New("whether the kernel takes it is known to root alone"), "")
	default:
		b.add(Error, "program", `until this is solved, mode = "observe" decides without the kernel`, "the kernel does not take weir's program: %v", k.Program)
	}
	switch {
	case k.Sessions == nil:
		b.ok("sessions", "those that are open when their source is dropped can be closed")
	case errors.Is(k.Sessions, loader.ErrPermission):
		b.unseen("sessions", errors.New("whether open ones can be closed is known to root alone"), "")
	default:
		b.add(Warning, "sessions", "a kernel with CONFIG_INET_DIAG_DESTROY", "those that are open when their source is dropped stay until they time out: %v", k.Sessions)
	}
	switch {
	case errors.Is(k.NoJIT, fs.ErrNotExist):
		b.unseen("jit", errors.New("only the first network namespace tells"), "run weir check on the host itself")
	case k.NoJIT != nil:
		b.unseen("jit", bareError(k.NoJIT), "")
	case k.JIT == "0":
		b.add(Warning, "jit", "sysctl -w net.core.bpf_jit_enable=1, and the same in /etc/sysctl.d", "the program is interpreted, and each packet costs several times as much")
	default:
		b.ok("jit", "the program is compiled to machine code")
	}
	if k.BTF {
		b.ok("btf", "the kernel describes its types")
	} else {
		b.add(Note, "btf", "a kernel with CONFIG_DEBUG_INFO_BTF",
			"the kernel does not describe its types (/sys/kernel/btf/vmlinux): whether a driver sends the tarpit's answers cannot be tried, and where it runs as native XDP, traffic control sends them or the tarpit drops")
	}
	if k.TCX {
		b.ok("tcx", "there is, for interfaces that another XDP program holds")
	} else {
		b.add(Note, "tcx", "", "this kernel has none (Linux 6.6 has); clsact takes its place")
	}
}

// bareError is the system's word, without the call.
func bareError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("/%s: %w", strings.TrimPrefix(path.Path, "/"), path.Err)
	}
	return err
}
