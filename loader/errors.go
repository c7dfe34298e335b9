package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

var (
	// ErrInUse says that another process holds the pin folder.
	ErrInUse = errors.New("another agent is running")

	// ErrFull says that a verdict table has no room for a further entry.
	ErrFull = errors.New("verdict table is full")

	// ErrPermission says that the process lacks the capabilities to load
	// and attach programs.
	ErrPermission = errors.New("needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (run as root or through the unit)")

	// ErrUnsupported says that the kernel lacks something weir cannot do
	// without.
	ErrUnsupported = errors.New("not supported by this kernel")

	// ErrNoBPFFS says that the pin folder is not on a BPF file system.
	ErrNoBPFFS = errors.New("not on a BPF file system")

	// ErrInvalidEntry says that an entry or prefix cannot stand in a
	// verdict table.
	ErrInvalidEntry = errors.New("invalid entry")
)

// explain adds the sentinel that a system call's error amounts to.
func explain(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused): // with EACCES, which is no lack of permission
		return fmt.Errorf("the program is refused: %w: %w", ErrUnsupported, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}
