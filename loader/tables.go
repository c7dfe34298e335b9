package loader

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"slices"
	"sync"
)

// tables are the four verdict tables and the rule which of them a prefix
// stands in.
type tables struct {
	reading sync.RWMutex // held while entries are yielded: close waits
	mu      sync.Mutex
	closed  bool
	clocks  clocks
	wide    wide

	verdicts4, verdicts6 *verdicts

	sources4  *sources[datapathSource4]
	sources6  *sources[datapathSource6]
	prefixes4 *table[datapathPrefix4]
	prefixes6 *table[datapathPrefix6]
}

func newTables(maps *datapathMaps, key datapathTableKey, clocks clocks) (_ *tables, err error) {
	t := &tables{clocks: clocks}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.verdicts4, err = mapVerdicts(maps.Verdicts4, shape4(), key.Factor4); err != nil {
		return nil, err
	}
	if t.verdicts6, err = mapVerdicts(maps.Verdicts6, shape6(), key.Factor6); err != nil {
		return nil, err
	}
	var errs [4]error
	t.sources4, errs[0] = newSources[datapathSource4]("IPv4 sources", 32, t.verdicts4, maps.Sources4)
	t.sources6, errs[1] = newSources[datapathSource6]("IPv6 sources", sourceBits6, t.verdicts6, maps.Sources6)
	t.prefixes4, errs[2] = newTable[datapathPrefix4]("IPv4 prefixes", maps.Prefixes4)
	t.prefixes6, errs[3] = newTable[datapathPrefix6]("IPv6 prefixes", maps.Prefixes6)
	return t, errors.Join(errs[:]...)
}

// close unmaps the verdict tables. Nothing else may be called after it.
func (t *tables) close() error {
	if t == nil {
		return nil
	}
	t.reading.Lock()
	defer t.reading.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return errors.Join(t.verdicts4.close(), t.verdicts6.close())
}

// Put writes entries, each over what stands for its prefix. The counters of
// an entry that exists go on, except for what is counted while it is replaced.
// An entry that says nothing new is left alone. A source that is dropped or
// allowed costs no system call; others cost two each.
//
// If any entry is invalid nothing is put and the error is [ErrInvalidEntry].
// If a table is full, everything that has room is put and the error is
// [ErrFull].
func (t *tables) Put(entries ...Entry) error {
	var errs []error
	for i := range entries {
		if err := entries[i].validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.now()
	if err != nil {
		return err
	}
	if err := t.wide.expect(entries); err != nil {
		return err
	}
	before := t.refused()
	carry4, carry6 := !t.prefixes4.empty(), !t.prefixes6.empty()
	for chunk := range slices.Chunk(entries, putSize) {
		var rows sorted
		var values [4][]datapathEntry
		for i := range chunk {
			which := rows.add(chunk[i].Prefix)
			values[which] = append(values[which], chunk[i].toKernel(at))
		}
		err := errors.Join(
			t.sources4.put(rows.sources4, values[sources4]),
			t.sources6.put(rows.sources6, values[sources6]),
			t.prefixes4.put(rows.prefixes4, values[prefixes4], carry4),
			t.prefixes6.put(rows.prefixes6, values[prefixes6], carry6),
		)
		if err != nil {
			return err
		}
	}
	return t.full(before)
}

// errClosed is what is said of tables that are unmapped.
var errClosed = fmt.Errorf("verdict tables: %w", os.ErrClosed)

// now reads the clocks for an operation on tables that are open.
func (t *tables) now() (moment, error) {
	if t.closed {
		return moment{}, errClosed
	}
	return t.clocks.read()
}

// full returns the error for what was refused since it was before.
func (t *tables) full(before [4]uint64) error {
	names := [...]string{sources4: t.sources4.name, sources6: t.sources6.name, prefixes4: t.prefixes4.name, prefixes6: t.prefixes6.name}
	var errs []error
	for i, now := range t.refused() {
		if n := now - before[i]; n > 0 {
			errs = append(errs, fmt.Errorf("put entries: %w: %s: all %d entries are taken, and there was no room for %d more",
				ErrFull, names[i], t.sources4.capacity, n))
		}
	}
	return errors.Join(errs...)
}

// putSize is how many entries are made into rows at once.
const putSize = 1 << 15

func (t *tables) refused() [4]uint64 {
	return [...]uint64{sources4: t.sources4.refused, sources6: t.sources6.refused, prefixes4: t.prefixes4.refused, prefixes6: t.prefixes6.refused}
}

// Delete removes what stands for exactly these prefixes. One for which
// nothing stands is no error.
func (t *tables) Delete(prefixes ...netip.Prefix) error {
	var rows sorted
	for _, p := range prefixes {
		if err := validatePrefix(p); err != nil {
			return err
		}
		rows.add(p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed
	}
	return errors.Join(
		t.sources4.delete(rows.sources4),
		t.sources6.delete(rows.sources6),
		t.prefixes4.delete(rows.prefixes4),
		t.prefixes6.delete(rows.prefixes6),
	)
}

// Get returns the entry that stands for exactly this prefix.
func (t *tables) Get(p netip.Prefix) (Entry, bool, error) {
	if err := validatePrefix(p); err != nil {
		return Entry{}, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.now()
	if err != nil {
		return Entry{}, false, err
	}
	var value datapathEntry
	var found bool
	bits := uint32(p.Bits())
	switch tableOf(p) {
	case sources4:
		value, found, err = t.sources4.get(keyOfSource4(p))
	case sources6:
		value, found, err = t.sources6.get(keyOfSource6(p))
	case prefixes4:
		value, found, err = t.prefixes4.get(keyOfPrefix4(p), bits)
	case prefixes6:
		value, found, err = t.prefixes6.get(keyOfPrefix6(p), bits)
	}
	if err != nil || !found {
		return Entry{}, false, err
	}
	return fromKernel(p.Masked(), &value, at), true, nil
}

// Entries yields all entries, in no order, those that have expired and were
// not deleted yet among them. Put and Delete may be called meanwhile, also by
// the one who iterates; what they touch may then be missed or yielded twice.
// An error ends the iteration.
func (t *tables) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		t.reading.RLock()
		defer t.reading.RUnlock()
		t.mu.Lock()
		at, err := t.now()
		t.mu.Unlock()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		_ = each(t.sources4.all(), at, prefixOfSource4, yield) &&
			each(t.sources6.all(), at, prefixOfSource6, yield) &&
			each(t.prefixes4.all(), at, prefixOfPrefix4, yield) &&
			each(t.prefixes6.all(), at, prefixOfPrefix6, yield)
	}
}

// each yields the entries of one table and reports whether to go on.
func each[K comparable](rows iter.Seq2[tableRow[K], error], at moment, prefix func(K) netip.Prefix, yield func(Entry, error) bool) bool {
	for row, err := range rows {
		if err != nil {
			yield(Entry{}, err)
			return false
		}
		if !yield(fromKernel(prefix(row.key), row.value, at), nil) {
			return false
		}
	}
	return true
}

// Fill is how full one verdict table is.
type Fill struct {
	Table    string // "IPv4 sources", "IPv6 prefixes" …
	Used     int    // entries, expired ones included
	Capacity int
	Refused  uint64 // entries that found no room since Open
}

// Fill returns how full the four verdict tables are. After thousands of
// prefixes were put at once it counts them.
func (t *tables) Fill() ([]Fill, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	var fills [4]Fill
	var errs [2]error
	fills[sources4], fills[sources6] = t.sources4.fill(), t.sources6.fill()
	fills[prefixes4], errs[0] = t.prefixes4.fill()
	fills[prefixes6], errs[1] = t.prefixes6.fill()
	return fills[:], errors.Join(errs[:]...)
}
