package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"
)

// maxCapacity keeps the hash tables within what the kernel can allocate.
const maxCapacity = 1 << 26

// Options says where the kernel's state is kept and how much of it there may
// be.
type Options struct {
	// Dir is the folder for pins. It must lie on a BPF file system; one is
	// mounted at /sys/fs/bpf if Dir is below it and nothing is there.
	Dir string

	// Capacity is the most entries each of the four tables holds (IPv4 and
	// IPv6, sources and prefixes). For each, about 100 bytes are taken at
	// once (the verdict tables, and the heads of the hashes), with 4 MB for
	// all of them besides, and 130 more when an entry comes that is limited,
	// a prefix, or finds its bucket full.
	Capacity int

	// Ports are the protected TCP ports.
	Ports []uint16

	// Ceiling is how many connections any source may open.
	Ceiling Ceiling

	// Modes are those in which the program may be attached to an interface.
	// The best one of them that an interface takes is used.
	Modes []string

	// LetThrough reports whether somebody wants everything to pass, by
	// LetThrough or otherwise: ports that are missing are then not put right.
	// nil: nobody ever does.
	LetThrough func() bool

	// Now is the wall clock by which entries end.
	Now func() time.Time

	// Logger is told what a caller does not get as an error.
	Logger *slog.Logger
}

// DefaultOptions protects SMTP and submission, for a quarter of a million
// flagged sources of each family.
func DefaultOptions() Options {
	return Options{
		Dir:      "/sys/fs/bpf/weir",
		Capacity: 1 << 18,
		Ports:    []uint16{25, 465, 587},
		Modes:    []string{ModeNative, ModeGeneric, ModeTCX, ModeClsact},
		Now:      time.Now,
		Logger:   slog.Default(),
	}
}

// Validate reports everything that is wrong with o.
func (o Options) Validate() error {
	var errs []error
	if !filepath.IsAbs(o.Dir) || filepath.Clean(o.Dir) == "/" {
		errs = append(errs, fmt.Errorf("pin folder %q: must be an absolute path below a BPF file system, such as /sys/fs/bpf/weir", o.Dir))
	}
	if o.Capacity < 1 || o.Capacity > maxCapacity {
		errs = append(errs, fmt.Errorf("capacity %d: must be between 1 and %d", o.Capacity, maxCapacity))
	}
	if slices.Contains(o.Ports, 0) {
		errs = append(errs, errors.New("port 0: must be between 1 and 65535"))
	}
	errs = append(errs, o.Ceiling.Validate())
	if len(ladder(o.Modes)) != len(o.Modes) || len(o.Modes) == 0 {
		errs = append(errs, fmt.Errorf("modes %q: must be different ones of %q", o.Modes, DefaultOptions().Modes))
	}
	if o.Logger == nil || o.Now == nil {
		errs = append(errs, errors.New("no logger, or no clock"))
	}
	return errors.Join(errs...)
}
