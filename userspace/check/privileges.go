package check

import (
	"os"

	"weir/loader"
)

// Privileges are those of the program that checks.
type Privileges struct {
	UID     int
	Missing []string // of the capabilities that enforcement needs
	NotSeen error
}

// LookAtPrivileges asks the kernel.
func LookAtPrivileges() Privileges {
	missing, err := loader.MissingCapabilities()
	return Privileges{UID: os.Geteuid(), Missing: missing, NotSeen: err}
}

func privileges(f *Facts, b *book) {
	p := &f.Privileges
	switch {
	case p.NotSeen != nil:
		b.unseen("capabilities", p.NotSeen, "")
	case len(p.Missing) > 0 && p.UID == 0:
		b.add(Warning, "capabilities", "give them to whoever starts weir: in a container, --cap-add; in a unit, CapabilityBoundingSet=",
			"root lacks %s here, and an agent that is started the same way cannot enforce", listed(p.Missing))
	case len(p.Missing) > 0:
		b.add(Note, "capabilities", "run weir check as root to see all", "%s are missing: not all could be seen", listed(p.Missing))
	default:
		b.ok("capabilities", "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are there")
	}
}
