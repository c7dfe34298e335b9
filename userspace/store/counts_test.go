package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func mustWriteCounts(t testing.TB, s *Store, parts ...[]byte) *Counts {
	t.Helper()
	c, err := s.WriteCounts(parts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func checkCheckpoint(t *testing.T, name string, s *Store, head, counts []byte) {
	t.Helper()
	if b, err := s.Checkpoint(); err != nil || !bytes.Equal(b, head) {
		t.Errorf("%s: the checkpoint is %.20q, %v; want %.20q", name, b, err, head)
	}
	if b, err := s.Counts(); err != nil || !bytes.Equal(b, counts) {
		t.Errorf("%s: %d bytes of counts, %v; want %d", name, len(b), err, len(counts))
	}
	if s.Salvaged() != nil {
		t.Errorf("%s: salvaged: %+v", name, s.Salvaged())
	}
}

// numbered is a text of size bytes that no other number has.
func numbered(n, size int) []byte {
	return bytes.Repeat([]byte(strconv.Itoa(n)+" "), size/2+1)[:size]
}

// Counts come back with the checkpoint that they were committed with, whether they
// are longer than those before or shorter.
func TestCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	checkCheckpoint(t, "new", s, nil, nil)
	for n, size := range []int{10, countsPiece + 3, 0, 3*countsPiece + 1, 5, 7} {
		head, counts := numbered(n, 20), numbered(n, size)
		c := mustWriteCounts(t, s, counts[:size/3], nil, counts[size/3:], []byte{})
		mustCommit(t, s, Batch{Checkpoint: [][]byte{head}, Counts: c})
		mustCommit(t, s, Batch{Put: pins(0, 1)}) // keeps it
		s.Close()
		s = mustOpen(t, path)
		checkCheckpoint(t, strconv.Itoa(size), s, head, counts)
	}
	for file := range byte(countsFiles) {
		if info, err := os.Stat(countsPath(s.path, file)); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 7 {
			t.Errorf("%v, %v", info, err)
		}
	}
	mustCommit(t, s, Batch{Checkpoint: [][]byte{[]byte("all in one")}})
	checkCheckpoint(t, "without counts", s, []byte("all in one"), nil)
}

// TestCountsCrash looks at what a crash leaves at every moment of a checkpoint:
// the old one or the new one, whole, with the decisions and removals of its
// transaction or without any of them.
func TestCountsCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	stored := func() []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	last := []byte(nil)
	for n := range 4 {
		mustCommit(t, s, Batch{Put: pins(n, n+1), Checkpoint: [][]byte{numbered(n, 20)}, Counts: mustWriteCounts(t, s, numbered(n, 900+n))})
		before := stored()
		next := mustWriteCounts(t, s, numbered(n+1, 901+n))
		free, err := os.ReadFile(countsPath(s.path, next.file))
		if err != nil {
			t.Fatal(err)
		}
		look := func(name string, db []byte, torn []byte, want int) {
			t.Helper()
			dir := t.TempDir()
			there := mustOpenCopy(t, dir, db, s, next.file, torn)
			defer there.Close()
			checkCheckpoint(t, name, there, numbered(want, 20), numbered(want, 900+want))
			if got := mustDecisions(t, there); len(got) != 1 || got[KeyOf(&pins(want, want+1)[0])].Action == 0 {
				t.Errorf("%s: %v", name, got)
			}
		}
		for cut := 0; cut <= len(free); cut += 150 { // while it is written, over what was there
			torn := bytes.Clone(last)
			if len(torn) < cut {
				torn = append(torn, make([]byte, cut-len(torn))...)
			}
			copy(torn, free[:cut])
			look("torn at "+strconv.Itoa(cut), before, torn, n)
		}
		look("written, not committed", stored(), free, n)
		gone := KeyOf(&pins(n, n+1)[0])
		mustCommit(t, s, Batch{Remove: []Key{gone}, Put: pins(n+1, n+2), Checkpoint: [][]byte{numbered(n+1, 20)}, Counts: next})
		look("committed", stored(), free, n+1)
		last = numbered(n, 900+n)
	}
}

// mustOpenCopy opens a copy of a store, whose one file of counts is torn.
func mustOpenCopy(t *testing.T, dir string, db []byte, s *Store, file byte, torn []byte) *Store {
	t.Helper()
	other := (file + 1) % countsFiles
	whole, err := os.ReadFile(countsPath(s.path, other))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "weir.db")
	for name, b := range map[string][]byte{path: db, countsPath(path, file): torn, countsPath(path, other): whole} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return mustOpen(t, path)
}

// TestCountsDamaged flips every byte of the counts, cuts them at every byte, and
// takes them away: that is said, and everything else is there.
func TestCountsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	counts := numbered(1, 500)
	c := mustWriteCounts(t, s, counts)
	mustCommit(t, s, Batch{Put: pins(0, 3), Checkpoint: [][]byte{[]byte("head")}, Counts: c})
	file := countsPath(s.path, c.file)
	damaged := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Counts(); !errors.Is(err, ErrCounts) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for at := range counts {
		flipped := bytes.Clone(counts)
		flipped[at] ^= 1 << (at % 8)
		damaged("flip at "+strconv.Itoa(at), flipped)
		damaged("cut to "+strconv.Itoa(at), counts[:at])
	}
	damaged("too long", append(bytes.Clone(counts), 0))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = mustOpen(t, path)
	if _, err := s.Counts(); !errors.Is(err, ErrCounts) {
		t.Errorf("missing: %v", err)
	}
	if b, err := s.Checkpoint(); string(b) != "head" || err != nil || len(mustDecisions(t, s)) != 3 || s.Salvaged() != nil {
		t.Errorf("%q, %v; salvaged %+v", b, err, s.Salvaged())
	}
	mustCommit(t, s, Batch{Checkpoint: [][]byte{[]byte("head 2")}, Counts: mustWriteCounts(t, s, []byte("anew"))})
	checkCheckpoint(t, "the next", s, []byte("head 2"), []byte("anew"))
}

// A record of counts that this weir does not know costs the counts, and neither the
// checkpoint nor the next ones.
func TestCountsRecord(t *testing.T) {
	whole := (&Counts{file: 1, size: 300 << 20, sum: 7}).encode()
	if c, err := parseCounts(whole); err != nil || *c != (Counts{file: 1, size: 300 << 20, sum: 7}) {
		t.Errorf("%+v, %v", c, err)
	}
	unknown := [][]byte{append(bytes.Clone(whole), 0), {countsVersion + 1, 0, 1, 0, 0, 0, 0}, {countsVersion, countsFiles, 1, 0, 0, 0, 0}}
	for size := range whole {
		unknown = append(unknown, whole[:size])
	}
	s := mustOpen(t, filepath.Join(t.TempDir(), "weir.db"))
	for _, record := range unknown {
		if c, err := parseCounts(record); !errors.Is(err, ErrCounts) {
			t.Errorf("%x is read as %+v, %v", record, c, err)
		}
		if err := s.db.Update(func(tx *bolt.Tx) error {
			w := writer{tx: tx, tallies: &s.tallies}
			if err := w.put(bucketCheckpoint, keyCounts, bytes.Clone(record), false); err != nil {
				return err
			}
			return w.format()
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Counts(); !errors.Is(err, ErrCounts) {
			t.Errorf("%x: %v", record, err)
		}
		mustCommit(t, s, Batch{Checkpoint: [][]byte{[]byte("next")}, Counts: mustWriteCounts(t, s, []byte("anew"))})
		checkCheckpoint(t, "the next", s, []byte("next"), []byte("anew"))
	}
}

// Counts that do not fit leave the current ones as they are, and their room to
// decisions.
func TestCountsDiskFull(t *testing.T) {
	dir := smallDisk(t, "1m")
	s := mustOpen(t, filepath.Join(dir, "weir.db"))
	small := numbered(1, 1000)
	mustCommit(t, s, Batch{Checkpoint: [][]byte{[]byte("small")}, Counts: mustWriteCounts(t, s, small)})
	large := numbered(2, 2<<20)
	for range 2 {
		if _, err := s.WriteCounts([][]byte{large[:1000], large[1000:]}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("full disk: %v", err)
		}
		mustCommit(t, s, Batch{Put: pins(0, 1000)})
		checkCheckpoint(t, "full", s, []byte("small"), small)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, Batch{Checkpoint: [][]byte{[]byte("large")}, Counts: mustWriteCounts(t, s, large)})
	checkCheckpoint(t, "room again", s, []byte("large"), large)
	s.Close()
}

// An older weir, which knows nothing of counts apart, finds the checkpoint before
// the record of them, and takes that out with the next checkpoint. What it wrote
// itself has no counts apart.
func TestCountsDowngrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	head := numbered(1, 2*chunkSize+5)
	mustCommit(t, s, Batch{Checkpoint: [][]byte{head}, Counts: mustWriteCounts(t, s, []byte("counts"))})
	var read []byte // as it does: every record of the bucket
	if err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucketCheckpoint.String())).ForEach(func(_, v []byte) error {
			read = append(read, v[:len(v)-checksumSize]...)
			return nil
		})
	}); err != nil || !bytes.HasPrefix(read, head) {
		t.Errorf("%d bytes, %v", len(read), err)
	}
	whole := numbered(2, 3*chunkSize)
	mustCommit(t, s, Batch{Checkpoint: [][]byte{whole}})
	s.Close()
	s = mustOpen(t, path)
	checkCheckpoint(t, "of the older weir", s, whole, nil)
	mustCommit(t, s, Batch{Checkpoint: [][]byte{head}, Counts: mustWriteCounts(t, s, []byte("again"))})
	checkCheckpoint(t, "upgraded", s, head, []byte("again"))
}

// BenchmarkCheckpoint writes the counts of a million sources, in a transaction and
// apart, and tells how long a pin waited at most that was committed meanwhile.
func BenchmarkCheckpoint(b *testing.B) {
	counts := make([][]byte, 200)
	for i := range counts {
		counts[i] = numbered(i, 1<<20)
	}
	head := [][]byte{[]byte("head")}
	for _, way := range []struct {
		name string
		save func(s *Store) error
	}{
		{"transaction", func(s *Store) error { return s.Commit(Batch{Checkpoint: counts}) }},
		{"apart", func(s *Store) error {
			c, err := s.WriteCounts(counts)
			if err != nil {
				return err
			}
			return s.Commit(Batch{Checkpoint: head, Counts: c})
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "weir.db")
			s := mustOpen(b, path)
			for range countsFiles { // as it is after some
				if err := way.save(s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			var most time.Duration
			for n := 0; b.Loop(); n++ {
				saved := make(chan error, 1)
				go func() { saved <- way.save(s) }()
				for saving := true; saving; {
					select {
					case err := <-saved:
						if saving = false; err != nil {
							b.Fatal(err)
						}
					case <-time.After(5 * time.Millisecond):
						begun := time.Now()
						mustCommit(b, s, Batch{Put: pins(n, n+1)})
						most = max(most, time.Since(begun))
					}
				}
			}
			b.ReportMetric(most.Seconds()*1000, "ms-pin-most")
			size := int64(0)
			for _, file := range Files(path) {
				if info, err := os.Stat(file); err == nil {
					size += info.Size()
				}
			}
			b.ReportMetric(float64(size>>20), "MB-disk")
		})
	}
}
