package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"weir/policy"
)

// Salvage tells what became of a damaged file.
type Salvage struct {
	Aside         string   // where the damaged file is now
	Damage        []string // what is wrong with it, the first few findings
	Pins          int      // carried over
	Automatic     int      // carried over
	LostPins      int      // −1: unknown
	LostAutomatic int      // −1: unknown
	Checkpoint    bool     // carried over
}

// Open opens the store at path, or creates it, readable by its owner alone.
//
// All of the file is read and checked first, and into, if it is not nil, is given
// what stands in it on the way. If it is damaged it is kept as
// path.corrupt-N, a new file with every readable record takes its place, and
// Salvaged and an error in the log tell what was saved and what was lost. One
// that is empty holds nothing to salvage, and an error in the log says so. A
// store that another process has open is ErrInUse, one that a newer weir
// wrote ErrVersion; neither is touched.
func Open(path string, logger *slog.Logger, into Restorer) (*Store, error) {
	_, missing := os.Stat(path)
	file, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	var salvage *Salvage
	if info.Size() > 0 {
		go readAhead(file, info.Size())
		restored := &restoring{into: into, most: uint64(info.Size()) / leastRecord, dec: newDecoder()}
		found := scan(file, info.Size(), false, restored)
		if errors.Is(found.format, ErrVersion) {
			file.Close()
			return nil, fmt.Errorf("open store %s: %w: install that weir again, or move the file away to begin with an empty store", path, found.format)
		}
		if found.damaged == 0 {
			err = restored.err
		} else {
			if into != nil {
				into.Anew()
			}
			salvage, err = salvageFile(path, file, info.Size(), found)
			file.Close()
			if err != nil {
				return nil, fmt.Errorf("open store %s: it is damaged (%s) and could not be salvaged: %w; it was left as it is", path, found.damage[0], err)
			}
			file, err = lockFile(path)
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("open store %s: %w", path, err)
		}
	}
	s, err := openBolt(path, file)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if salvage != nil && into != nil {
		for d, err := range s.Decisions() {
			if err != nil {
				s.Close()
				return nil, err
			}
			into.Decision(&d)
		}
	}
	if s.salvage = salvage; salvage != nil {
		salvage.say(logger, path)
	}
	if missing == nil && info.Size() == 0 {
		if err := markIncomplete(path); err != nil {
			s.Close()
			return nil, fmt.Errorf("open store %s: %w", path, err)
		}
		logger.Error("the store was an empty file, and is begun anew: pins and decisions that it held are lost; restore it from a backup, or pin again", "store", path)
	}
	return s, nil
}

// Restorer takes in what a store holds while it is opened.
type Restorer interface {
	// Expect tells how many decisions there are to come, before the first of them
	// and where that is known.
	Expect(n int)
	// Decision is given every decision, as Store.Decisions yields them. It is
	// valid until Decision returns.
	Decision(*policy.Decision)
	// Anew says that the file was damaged: everything is given again, out of what
	// was salvaged.
	Anew()
}

// restoring decodes the records of a scan.
type restoring struct {
	into Restorer // nil: nobody wants them
	most uint64   // records that the file has room for
	dec  *decoder
	d    policy.Decision // the latest
	err  error           // the first
}

// leastRecord is less than any record takes, with where it stands in its page.
const leastRecord = 32

func (r *restoring) expect(t tallies) {
	if n := t[bucketAutomatic].count + t[bucketPins].count; r.into != nil && n <= r.most {
		r.into.Expect(int(n))
	}
}

func (r *restoring) take(rec record) {
	if r.into == nil || rec.bucket != bucketAutomatic && rec.bucket != bucketPins || r.err != nil {
		return
	}
	if err := r.dec.decision(&r.d, rec.bucket, rec.key, rec.value[:len(rec.value)-checksumSize]); err != nil {
		r.err = fmt.Errorf("%w: %v: record %q: %w", ErrDamaged, rec.bucket, printable(rec.key), err)
		return
	}
	r.into.Decision(&r.d)
}

// readAhead has all of a file read from the disk in the order in which it stands
// there, which is not that of the tree: after the host has started, nothing of it is
// in memory.
func readAhead(file *os.File, size int64) {
	const step = 128 << 10 // no device takes less at once, and what is more may be cut
	conn, err := file.SyscallConn()
	for at := int64(0); at < size && err == nil; at += step { // without, it takes longer
		err = conn.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), at, step, unix.FADV_WILLNEED) })
	}
}

// lockFile opens the file and takes the lock that bbolt takes too (flock(2)
// belongs to the open file, which bbolt is then given).
func lockFile(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: make the folder %s first, or correct state_dir", err, filepath.Dir(path))
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%w: run weir as the owner of %s", err, filepath.Dir(path))
		case err != nil:
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: is a second agent running? stop the other one, or give this one a state_dir of its own", ErrInUse)
			}
			return nil, fmt.Errorf("lock: %w", err)
		}
		opened, err1 := file.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(opened, named) {
			return file, nil
		}
		file.Close() // replaced between opening and locking
	}
}

// openBolt hands a locked and checked file to bbolt, and closes it on error.
func openBolt(path string, file *os.File) (*Store, error) {
	s := &Store{path: path, file: file}
	err := s.guard(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      time.Second,
			FreelistType: bolt.FreelistMapType,
			OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return file, nil },
		})
		return err
	})
	if err != nil {
		file.Close()
		return nil, err
	}
	if err := s.start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// salvageFile puts a new file with the readable records in the place of the
// damaged one, which keeps its content under a new name. There is no moment
// without a file at path.
func salvageFile(path string, file *os.File, size int64, found *scanned) (*Salvage, error) {
	fresh := path + ".salvage"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err := carryOver(fresh, file, size, found)
	if err == nil {
		err = markIncomplete(path) // where nothing is missing, an older header may have been taken
	}
	if err != nil {
		os.Remove(fresh)
		return nil, err
	}
	aside, err := setAside(path)
	if err != nil {
		os.Remove(fresh)
		return nil, err
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, err
	}
	if err := syncFolder(path); err != nil {
		return nil, err
	}
	return &Salvage{
		Aside:         aside,
		Damage:        found.damage,
		Pins:          int(found.found[bucketPins].count),
		Automatic:     int(found.found[bucketAutomatic].count),
		LostPins:      found.lost(bucketPins),
		LostAutomatic: found.lost(bucketAutomatic),
		Checkpoint:    found.whole(bucketCheckpoint) && found.found[bucketCheckpoint].count > 0,
	}, nil
}

// carryOver writes the good records into a new file. Where records are
// missing found is replaced by what a warier reading gives.
func carryOver(fresh string, file *os.File, size int64, found *scanned) error {
	lockedFile, err := lockFile(fresh)
	if err != nil {
		return err
	}
	s, err := openBolt(fresh, lockedFile)
	if err != nil {
		return err
	}
	defer s.Close()
	wary := !found.whole(bucketPins) || !found.whole(bucketAutomatic)
	checkpoint := found.whole(bucketCheckpoint)
	err = s.guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			w := writer{tx: tx, tallies: &s.tallies}
			var failed error
			again := scan(file, size, wary, takeFunc(func(r record) {
				if failed == nil && (r.bucket != bucketCheckpoint || checkpoint) {
					value := append([]byte(nil), r.value[:len(r.value)-checksumSize]...)
					failed = w.put(r.bucket, append([]byte(nil), r.key...), value, true)
				}
			}))
			if failed != nil {
				return failed
			}
			again.damage, again.damaged = found.damage, found.damaged
			*found = *again
			return w.format()
		})
	})
	return err
}

// setAside gives the file at path a second name, the first free one.
func setAside(path string) (string, error) {
	for n := 1; ; n++ {
		aside := path + ".corrupt-" + strconv.Itoa(n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		err := os.Link(path, aside)
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EMLINK) {
			err = os.Rename(path, aside) // a file system without hard links
		}
		return aside, err
	}
}

func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
