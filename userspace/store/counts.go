package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// What a checkpoint counts may be hundreds of megabytes. They stand beside the
// database in a file of their own, one of two that are written in turn: while the
// next counts are written, over those before the last, what is committed names the
// other file. A record in the database says which one counts, how long it is and
// what its checksum is; committing that record makes a checkpoint the current one.

// ErrCounts: the counts that belong to the checkpoint are missing or damaged.
var ErrCounts = errors.New("the checkpoint's counts are not what was written")

// Counts are written, and belong to a checkpoint once they are committed with it.
type Counts struct {
	file byte // which of the two
	size uint64
	sum  uint32 // CRC-32C
}

const (
	countsVersion = 1
	countsFiles   = 2
	countsPiece   = 4 << 20 // bytes that are made durable at once, so that no other write waits for long
)

// keyCounts stands behind the numbers of a checkpoint's chunks.
var keyCounts = []byte("counts")

// Files names the files that a store at path consists of; not all need be there.
func Files(path string) []string {
	all := []string{path}
	for file := range byte(countsFiles) {
		all = append(all, countsPath(path, file))
	}
	return all
}

func countsPath(path string, file byte) string {
	return path + ".counts-" + strconv.Itoa(int(file)+1)
}

// WriteCounts makes parts, one after the other, durable in that of the two files
// which is not in use. It may run beside Commit, and only once at a time; what it
// gave last must be committed before it is called again, or never.
func (s *Store) WriteCounts(parts [][]byte) (*Counts, error) {
	current, err := s.currentCounts()
	if err != nil && !errors.Is(err, ErrCounts) {
		return nil, fmt.Errorf("read store %s: %w", s.path, err)
	}
	next := &Counts{}
	if current != nil {
		next.file = (current.file + 1) % countsFiles
	}
	for _, part := range parts {
		next.size += uint64(len(part))
		next.sum = crc32.Update(next.sum, castagnoli, part)
	}
	path := countsPath(s.path, next.file)
	_, missing := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write counts: %w", err)
	}
	if err = next.write(f, parts); err != nil {
		err = errors.Join(err, f.Truncate(0)) // what they would have taken is for decisions
	}
	if err = errors.Join(err, f.Close()); err == nil && missing != nil {
		err = syncFolder(path)
	}
	switch {
	case full(err):
		return nil, fmt.Errorf("write counts %s: %w: free some space there: %d bytes are needed", path, err, next.size)
	case err != nil:
		return nil, fmt.Errorf("write counts %s: %w", path, err)
	}
	return next, nil
}

// write writes over what f holds: what has its place already needs none, and is
// durable without a change of the file system.
func (c *Counts) write(f *os.File, parts [][]byte) error {
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(c.size)); full(err) {
		return err // others mean that this file system cannot tell beforehand
	}
	unsynced := 0
	for _, part := range parts {
		if _, err := f.Write(part); err != nil {
			return err
		}
		if unsynced += len(part); unsynced < countsPiece {
			continue
		}
		unsynced = 0
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
	}
	if err := f.Truncate(int64(c.size)); err != nil {
		return err
	}
	return f.Sync()
}

// full reports whether err says that there is no space.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Counts returns those that belong to the checkpoint, nil if none do. An error
// that is ErrCounts concerns nothing but them.
func (s *Store) Counts() ([]byte, error) {
	c, err := s.currentCounts()
	if err != nil {
		return nil, fmt.Errorf("read store %s: %w", s.path, err)
	}
	if c == nil {
		return nil, nil
	}
	path := countsPath(s.path, c.file)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrCounts, path)
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCounts, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || uint64(info.Size()) != c.size {
		return nil, fmt.Errorf("%w: %s is not of %d bytes", ErrCounts, path, c.size)
	}
	b := make([]byte, c.size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCounts, path, err)
	}
	if crc32.Checksum(b, castagnoli) != c.sum {
		return nil, fmt.Errorf("%w: %s: %w", ErrCounts, path, errChecksum)
	}
	return b, nil
}

// currentCounts returns what the database says, nil if nothing.
func (s *Store) currentCounts() (c *Counts, err error) {
	err = s.guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			sealed := tx.Bucket([]byte(bucketCheckpoint.String())).Get(keyCounts)
			if sealed == nil {
				return nil
			}
			value, _, err := unseal(bucketCheckpoint, keyCounts, sealed)
			if err != nil {
				s.broken.Store(true)
				return fmt.Errorf("%w: the record of the counts: %w", ErrDamaged, err)
			}
			c, err = parseCounts(value)
			return err
		})
	})
	return c, err
}

// encode writes the record: its version, the number of the file, its size and the
// sum.
func (c *Counts) encode() []byte {
	b := binary.AppendUvarint([]byte{countsVersion, c.file}, c.size)
	return binary.BigEndian.AppendUint32(b, c.sum)
}

func parseCounts(b []byte) (*Counts, error) {
	if len(b) < 2 || b[0] != countsVersion || b[1] >= countsFiles {
		return nil, fmt.Errorf("%w: the record of them is unknown: written by a newer weir?", ErrCounts)
	}
	size, n := binary.Uvarint(b[2:])
	if n <= 0 || len(b) != 2+n+4 {
		return nil, fmt.Errorf("%w: %w", ErrCounts, errShort)
	}
	return &Counts{file: b[1], size: size, sum: binary.BigEndian.Uint32(b[2+n:])}, nil
}
