package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"weir/policy"
)

var (
	// ErrInUse: another process, as a rule a second agent, has the store open.
	ErrInUse = errors.New("the store is in use by another process")
	// ErrDamaged: the file was damaged while it was open. Close the store and
	// open it again to have it salvaged.
	ErrDamaged = errors.New("the store was damaged while in use")
	// ErrVersion: the file was written by a newer weir.
	ErrVersion = errors.New("the store has an unknown version")
)

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	path    string
	file    *os.File
	db      *bolt.DB
	writing sync.Mutex
	tallies tallies // of what is committed; under writing
	salvage *Salvage
	broken  atomic.Bool
}

// Key names a stored decision: a target may have an automatic one and a pin.
type Key struct {
	policy.Target
	Pinned bool
}

// KeyOf returns the key that d is stored under.
func KeyOf(d *policy.Decision) Key { return Key{Target: d.Target, Pinned: d.Pinned} }

func (k Key) bucket() bucketID {
	if k.Pinned {
		return bucketPins
	}
	return bucketAutomatic
}

// Batch is what one transaction writes: Remove first, then Put, then the
// checkpoint, unless it is nil.
type Batch struct {
	Remove     []Key
	Put        []policy.Decision
	Checkpoint [][]byte // its parts, one after the other
	Counts     *Counts  // that belong to the checkpoint; nil: none do
}

// Salvaged returns what happened when the file was found damaged on opening,
// nil if it was not.
func (s *Store) Salvaged() *Salvage { return s.salvage }

// Path returns the file's name.
func (s *Store) Path() string { return s.path }

// Close releases the file.
func (s *Store) Close() error {
	if s.broken.Load() {
		// bbolt may still hold its own locks, and its mapping keeps the file's.
		err := syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN)
		return errors.Join(err, s.file.Close())
	}
	return s.db.Close()
}

// guard runs f over bbolt, which panics on a damaged file; and reading a page
// of a mapped file that was cut short meanwhile is a fault.
func (s *Store) guard(f func() error) (err error) {
	if s.broken.Load() {
		return ErrDamaged
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			s.broken.Store(true)
			err = fmt.Errorf("%w: %v", ErrDamaged, cause)
		}
	}()
	return f()
}

// chunkSize is how a checkpoint is cut up, so that its pages are found again
// among the free ones when it is replaced.
const chunkSize = 256 << 10

// Commit writes b durably, all of it or nothing. After an error what was
// there before is still there, and Commit may be called again.
func (s *Store) Commit(b Batch) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	next := s.tallies
	err := s.guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			w := writer{tx: tx, tallies: &next}
			if err := w.batch(b); err != nil {
				return err
			}
			return w.format()
		})
	})
	switch {
	case full(err):
		return fmt.Errorf("write store %s: %w: free some space there; what is in force stays in force", s.path, err)
	case err != nil:
		return fmt.Errorf("write store %s: %w", s.path, err)
	}
	s.tallies = next
	return nil
}

// writer changes records inside one transaction and keeps the tallies right.
type writer struct {
	tx      *bolt.Tx
	tallies *tallies
}

func (w writer) batch(b Batch) error {
	for _, k := range b.Remove {
		key, err := appendKey(nil, k.Target)
		if err != nil {
			return err
		}
		if err := w.remove(k.bucket(), key); err != nil {
			return err
		}
	}
	if err := w.decisions(b.Put); err != nil {
		return err
	}
	if b.Checkpoint == nil {
		return nil
	}
	if err := w.checkpoint(b.Checkpoint); err != nil || b.Counts == nil {
		return err
	}
	return w.put(bucketCheckpoint, keyCounts, b.Counts.encode(), false)
}

// bulk is the number of decisions from which pages are filled up, because
// they come in order.
const bulk = 10_000

func (w writer) decisions(put []policy.Decision) error {
	type encoded struct {
		key []byte
		at  int // in put
	}
	all := make([]encoded, len(put))
	for i := range put {
		d := &put[i]
		if d.Action < policy.Allow || d.Action > policy.Release {
			return fmt.Errorf("decision on %v has no action", d.Target)
		}
		key, err := appendKey(nil, d.Target)
		if err != nil {
			return err
		}
		all[i] = encoded{key, i}
	}
	slices.SortFunc(all, func(a, b encoded) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return a.at - b.at // of two for one key the later stays
	})
	for _, e := range all {
		d := &put[e.at]
		if err := w.put(KeyOf(d).bucket(), e.key, appendDecision(make([]byte, 0, 128), d), len(all) >= bulk); err != nil {
			return err
		}
	}
	return nil
}

func (w writer) checkpoint(parts [][]byte) error {
	bucket := w.tx.Bucket([]byte(bucketCheckpoint.String()))
	n := uint32(0)
	for chunk := range rechunk(parts) {
		if err := w.put(bucketCheckpoint, binary.BigEndian.AppendUint32(nil, n), chunk, false); err != nil {
			return err
		}
		n++
	}
	var stale [][]byte
	c := bucket.Cursor()
	for k, _ := c.Seek(binary.BigEndian.AppendUint32(nil, n)); k != nil; k, _ = c.Next() {
		stale = append(stale, slices.Clone(k))
	}
	for _, k := range stale {
		if err := w.remove(bucketCheckpoint, k); err != nil {
			return err
		}
	}
	return nil
}

// rechunk yields what parts hold in chunks of chunkSize, each in memory of its
// own that has room for a checksum.
func rechunk(parts [][]byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		chunk := make([]byte, 0, chunkSize+checksumSize)
		for _, part := range parts {
			for len(part) > 0 {
				k := min(len(part), chunkSize-len(chunk))
				chunk, part = append(chunk, part[:k]...), part[k:]
				if len(chunk) < chunkSize {
					continue
				}
				if !yield(chunk) {
					return
				}
				chunk = make([]byte, 0, chunkSize+checksumSize)
			}
		}
		if len(chunk) > 0 {
			yield(chunk)
		}
	}
}

func (w writer) put(id bucketID, key, value []byte, ordered bool) error {
	bucket := w.tx.Bucket([]byte(id.String()))
	if ordered {
		bucket.FillPercent = 0.9
	}
	if old := bucket.Get(key); len(old) >= checksumSize {
		w.tallies[id].remove(binary.BigEndian.Uint32(old[len(old)-checksumSize:]))
	}
	sealed := seal(id, key, value)
	w.tallies[id].add(binary.BigEndian.Uint32(sealed[len(value):]))
	return bucket.Put(key, sealed)
}

func (w writer) remove(id bucketID, key []byte) error {
	bucket := w.tx.Bucket([]byte(id.String()))
	old := bucket.Get(key)
	if len(old) < checksumSize {
		return nil
	}
	w.tallies[id].remove(binary.BigEndian.Uint32(old[len(old)-checksumSize:]))
	return bucket.Delete(key)
}

// format writes the version and the tallies.
func (w writer) format() error {
	return w.tx.Bucket([]byte(bucketMeta.String())).Put(keyFormat, seal(bucketMeta, keyFormat, w.tallies.encode()))
}

// start makes the buckets of a new file and reads the tallies of an old one.
func (s *Store) start() error {
	return s.guard(func() error {
		known := false
		err := s.db.View(func(tx *bolt.Tx) (err error) {
			known, err = s.recall(tx)
			return err
		})
		if err != nil || known { // else it is a new file
			return err
		}
		return s.db.Update(func(tx *bolt.Tx) error {
			for id := range bucketCount {
				if _, err := tx.CreateBucketIfNotExists([]byte(id.String())); err != nil {
					return fmt.Errorf("create bucket %v: %w", id, err)
				}
			}
			return writer{tx: tx, tallies: &s.tallies}.format()
		})
	})
}

// recall reads the tallies, and reports whether there were any.
func (s *Store) recall(tx *bolt.Tx) (known bool, err error) {
	meta := tx.Bucket([]byte(bucketMeta.String()))
	if meta == nil {
		return false, nil
	}
	sealed := meta.Get(keyFormat)
	if sealed == nil {
		return false, nil
	}
	value, _, err := unseal(bucketMeta, keyFormat, sealed)
	if err != nil {
		return true, fmt.Errorf("tallies: %w", err)
	}
	return true, s.tallies.decode(value)
}

// say reports what was salvaged.
func (v *Salvage) say(logger *slog.Logger, path string) {
	lost := func(n int) any {
		if n < 0 {
			return "unknown"
		}
		return n
	}
	logger.Error("the store was damaged; it is set aside and what was readable is carried over",
		"store", path, "aside", v.Aside, "damage", v.Damage,
		"pins_saved", v.Pins, "pins_lost", lost(v.LostPins),
		"decisions_saved", v.Automatic, "decisions_lost", lost(v.LostAutomatic),
		"checkpoint_saved", v.Checkpoint)
}
