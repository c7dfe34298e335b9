package store

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"weir/policy"
)

// mustDamageable writes a store with a history: pages in use, free pages
// that still hold removed records, a checkpoint that was replaced. It returns
// the file, what stands in it, and what stood before the last change (which a
// damaged header brings back).
func mustDamageable(t testing.TB) (file []byte, now, before map[Key]policy.Decision, checkpoint []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	mustCommit(t, s, Batch{Put: pins(5000, 5400), Checkpoint: [][]byte{bytes.Repeat([]byte("old"), 5000)}})
	var gone []Key
	for _, d := range pins(5000, 5400) {
		gone = append(gone, KeyOf(&d))
	}
	checkpoint = bytes.Repeat([]byte("new"), 4000)
	mustCommit(t, s, Batch{Remove: gone, Put: pins(0, 250), Checkpoint: [][]byte{checkpoint}})
	var flagged []policy.Decision
	for n := range 120 {
		flagged = append(flagged, automatic(n))
	}
	mustCommit(t, s, Batch{Put: flagged})
	before = mustDecisions(t, s)
	mustCommit(t, s, Batch{Put: pins(250, 260), Remove: []Key{{Target: policy.Target{Prefix: source(9)}, Pinned: true}}})
	now = mustDecisions(t, s)
	s.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file, now, before, checkpoint
}

// checkDamaged opens a damaged copy and holds it to the promises: no panic,
// nothing invented, and nothing lost without a word.
func checkDamaged(t *testing.T, name string, damaged []byte, now, before map[Key]policy.Decision, checkpoint []byte) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-damaged-") // there may be many thousands
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "weir.db")
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &given{decisions: map[Key]policy.Decision{}}
	s, err := Open(path, quiet, g)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer s.Close()
	got := mustDecisions(t, s)
	mustBeGiven(t, name, g, got)
	v := s.Salvaged()
	if (v != nil) != (g.anew == 1) {
		t.Errorf("%s: salvaged %+v, and %d times begun anew", name, v, g.anew)
	}
	if v == nil {
		if !reflect.DeepEqual(got, now) {
			t.Errorf("%s: %d of %d decisions, and nothing was said", name, len(got), len(now))
		}
		if b, err := s.Checkpoint(); err != nil || !bytes.Equal(b, checkpoint) {
			t.Errorf("%s: the checkpoint changed and nothing was said (%v)", name, err)
		}
		return
	}
	for key, d := range got {
		if !reflect.DeepEqual(d, now[key]) && !(strings.Contains(v.Damage[0], "headers") && reflect.DeepEqual(d, before[key])) {
			t.Errorf("%s: invented %+v (damage %q)", name, d, v.Damage)
			return
		}
	}
	if b, err := s.Checkpoint(); err != nil || b != nil && !bytes.Equal(b, checkpoint) || v.Checkpoint != (b != nil) {
		t.Errorf("%s: the checkpoint is not what was stored (%v)", name, err)
	}
	if b, err := s.Counts(); b != nil || err != nil && !errors.Is(err, ErrCounts) {
		t.Errorf("%s: counts: %d bytes, %v", name, len(b), err)
	}
	if !s.Incomplete() || s.Completed() != nil || s.Incomplete() {
		t.Errorf("%s: whether something is missing is not kept", name)
	}
	if v.Pins+v.Automatic != len(got) {
		t.Errorf("%s: %d and %d said to be saved, %d are there", name, v.Pins, v.Automatic, len(got))
	}
	if lost := v.LostPins + v.LostAutomatic; v.LostPins >= 0 && !strings.Contains(v.Damage[0], "headers") && lost != len(now)-len(got) {
		t.Errorf("%s: %d said to be lost, %d are missing", name, lost, len(now)-len(got))
	}
	if aside, err := os.ReadFile(v.Aside); err != nil || !bytes.Equal(aside, damaged) {
		t.Errorf("%s: the damaged file was not kept as it was: %v", name, err)
	}
	if err := s.Commit(Batch{Put: pins(900, 901)}); err != nil {
		t.Errorf("%s: the salvaged store does not take writes: %v", name, err)
	}
}

func TestFlippedBits(t *testing.T) {
	file, now, before, checkpoint := mustDamageable(t)
	step := 331
	if testing.Short() {
		step = 997
	}
	said := 0
	for at := 0; at < len(file); at += step {
		damaged := bytes.Clone(file)
		damaged[at] ^= 1 << (at % 8)
		checkDamaged(t, "flip at "+strconv.Itoa(at), damaged, now, before, checkpoint)
		said++
	}
	t.Logf("%d places in %d bytes", said, len(file))
}

// TestFlippedHeaders flips every byte of every page header, of the database's
// headers and of the first elements: where a page leads.
func TestFlippedHeaders(t *testing.T) {
	file, now, before, checkpoint := mustDamageable(t)
	for page := 0; page < len(file); page += 4096 {
		for at := page; at < page+80; at += 11 {
			damaged := bytes.Clone(file)
			damaged[at] ^= 0x55
			checkDamaged(t, "header flip at "+strconv.Itoa(at), damaged, now, before, checkpoint)
		}
	}
}

func TestTruncated(t *testing.T) {
	file, now, before, checkpoint := mustDamageable(t)
	for size := 1; size < len(file); size += 1531 {
		checkDamaged(t, "cut to "+strconv.Itoa(size), file[:size], now, before, checkpoint)
	}
}

func TestPagesOverwritten(t *testing.T) {
	file, now, before, checkpoint := mustDamageable(t)
	for page := 0; page < len(file); page += 4096 {
		zeroed := bytes.Clone(file)
		clear(zeroed[page : page+4096])
		checkDamaged(t, "zeros at "+strconv.Itoa(page), zeroed, now, before, checkpoint)
		swapped := bytes.Clone(file) // as if written to the wrong place
		copy(swapped[page:page+4096], file[(page+8192)%len(file):])
		checkDamaged(t, "misplaced at "+strconv.Itoa(page), swapped, now, before, checkpoint)
	}
}

func TestNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	for n := 1; n <= 2; n++ {
		if err := os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, path)
		v := s.Salvaged()
		if v == nil || v.Aside != path+".corrupt-"+strconv.Itoa(n) || v.LostPins != -1 {
			t.Fatalf("salvage: %+v", v)
		}
		if len(mustDecisions(t, s)) != 0 {
			t.Error("decisions out of nothing")
		}
		s.Close()
	}
}

// TestCutWhileOpen truncates the file under an open store: reading a mapped
// page that is gone is a fault, not an error.
func TestCutWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	mustCommit(t, s, Batch{Put: pins(0, 5000)})
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(Batch{Put: pins(0, 5000)}); err == nil {
		t.Error("a write to a file that was cut short succeeded")
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s = mustOpen(t, path)
	if s.Salvaged() == nil {
		t.Error("nothing was said")
	}
}

// Whoever asks for one record that was damaged under an open store finds that out
// for all.
func TestDamagedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s := mustOpen(t, path)
	all := pins(0, 3)
	all[1].Reason = "the reason of the second"
	mustCommit(t, s, Batch{Put: all})
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), int64(bytes.Index(file, []byte(all[1].Reason)))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Sample(KeyOf(&all[0])); err != nil {
		t.Errorf("a record that is whole: %v", err)
	}
	if _, _, err := s.Sample(KeyOf(&all[1])); !errors.Is(err, ErrDamaged) {
		t.Errorf("the damaged record: %v", err)
	}
	if err := s.Commit(Batch{Put: pins(4, 5)}); !errors.Is(err, ErrDamaged) {
		t.Errorf("the next write: %v", err)
	}
}

func FuzzOpenDamaged(f *testing.F) {
	file, _, _, _ := mustDamageable(f)
	f.Add(uint32(5000), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		damaged := bytes.Clone(file)
		copy(damaged[int(at)%len(damaged):], patch)
		scan(bytes.NewReader(damaged), int64(len(damaged)), at%2 == 0, takeFunc(func(record) {}))
	})
}

// wholeDecision reads a decision with its sample.
func wholeDecision(key, value []byte) (d policy.Decision, err error) {
	dec := newDecoder()
	if err = dec.decision(&d, bucketAutomatic, key, value); err == nil {
		d.Evidence.Sample, err = dec.rest()
	}
	return d, err
}

func FuzzDecision(f *testing.F) {
	d := automatic(2)
	key, _ := appendKey(nil, d.Target)
	f.Add(key, appendDecision(nil, &d))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		got, err := wholeDecision(key, value)
		if err != nil {
			return
		}
		again, err := wholeDecision(key, appendDecision(nil, &got))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
	})
}

// TestEmptied is a file that something cut to nothing: it opens like a new
// one, which must not pass in silence.
func TestEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	var said bytes.Buffer
	open := func() {
		s, err := Open(path, slog.New(slog.NewTextHandler(&said, nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open()
	if said.Len() > 0 {
		t.Errorf("a new store: %s", &said)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	open()
	if _, err := os.Stat(path + incompleteSuffix); err != nil {
		t.Errorf("it counts as complete: %v", err)
	}
	if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), path) {
		t.Errorf("an emptied store: %q", &said)
	}
}
