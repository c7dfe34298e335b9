package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weir/loader"
)

// Pins are the folder in which the kernel keeps what outlives the agent.
type Pins struct {
	Dir     string
	OnBPFFS bool
	NotSeen error
	Exists  bool
	Mode    fs.FileMode
	Links   int // interfaces that an earlier run, or the present one, is attached to
}

// LookAtPins looks at the folder that bpffs names.
func LookAtPins(dir string) Pins {
	p := Pins{Dir: dir}
	p.OnBPFFS, p.NotSeen = loader.OnBPFFS(dir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.NotSeen = bareError(err)
	default:
		p.Exists, p.Mode = true, info.Mode().Perm()
		links, err := os.ReadDir(filepath.Join(dir, "links"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.NotSeen = bareError(err)
		}
		p.Links = len(links)
	}
	return p
}

func pins(f *Facts, b *book) {
	p := &f.Pins
	switch {
	case p.NotSeen != nil:
		b.unseen(p.Dir, p.NotSeen, "")
		return
	case !p.OnBPFFS:
		severity := Note
		if f.Settings.Enforce {
			severity = Error
		}
		b.add(severity, p.Dir, "mount -t bpf bpf /sys/fs/bpf (systemd does so at boot), and let bpffs name a folder below it",
			"it is not on a BPF file system: enforcement could not outlive the agent, so there is none")
		return
	case !p.Exists && f.Agent.Down == nil && f.Agent.Enforces:
		b.add(Error, p.Dir, "systemctl restart weir makes it anew",
			"it was removed while the agent runs: nothing of what it enforces would outlive it")
		return
	case !p.Exists:
		b.ok(p.Dir, "it would be made on a BPF file system")
		return
	}
	b.ok(p.Dir, "on a BPF file system, %s", counted(p.Links, "link is pinned", "links are pinned"))
	if p.Mode&0o077 != 0 {
		b.add(Warning, p.Dir, fmt.Sprintf("chmod 700 %s", p.Dir), "others may look into it (mode %o): who opens a pin can change what is enforced", p.Mode)
	}
}
