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
	halves  [2]toPut // of what is being put; memory for the next

	verdicts4, verdicts6 *verdicts
	marks4, marks6       *marks

	sources4  *sources[datapathSource4]
	sources6  *sources[datapathSource6]
	prefixes4 *table[datapathPrefix4]
	prefixes6 *table[datapathPrefix6]
}

// newTables maps the tables. What stands in them is looked at unless they are fresh:
// nothing does then.
func newTables(maps *datapathMaps, fresh bool, key datapathTableKey, clocks clocks) (_ *tables, err error) {
	t := &tables{clocks: clocks}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	at, err := clocks.read()
	if err != nil {
		return nil, err
	}
	if t.verdicts4, err = mapVerdicts(maps.Verdicts4, maps.Sieve4, maps.Counts4, shape4(), key.Factor4); err != nil {
		return nil, err
	}
	if t.verdicts6, err = mapVerdicts(maps.Verdicts6, maps.Sieve6, maps.Counts6, shape6(), key.Factor6); err != nil {
		return nil, err
	}
	if t.marks4, err = mapMarks(maps.Marks4, maps.Unmarked4, maps.Belief4, markForm4(int(maps.Sources4.MaxEntries())), 0); err != nil {
		return nil, err
	}
	if t.marks6, err = mapMarks(maps.Marks6, maps.Unmarked6, maps.Belief6, markForm6(int(maps.Sources6.MaxEntries())), key.Rest6); err != nil {
		return nil, err
	}
	var errs [4]error
	inParallel(func(i int) {
		if i == 0 {
			t.sources4, errs[i] = newSources[datapathSource4]("IPv4 sources", 32, t.verdicts4, t.marks4, maps.Sources4, fresh, at.monotonic)
		} else {
			t.sources6, errs[i] = newSources[datapathSource6]("IPv6 sources", sourceBits6, t.verdicts6, t.marks6, maps.Sources6, fresh, at.monotonic)
		}
	})
	t.prefixes4, errs[2] = newTable[datapathPrefix4]("IPv4 prefixes", maps.Prefixes4)
	t.prefixes6, errs[3] = newTable[datapathPrefix6]("IPv6 prefixes", maps.Prefixes6)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return t, t.settle()
}

// settle takes drops that end soon out of the sets: see belief. Where it is not
// called every other second, the tables are asked in their place.
func (t *tables) settle() error {
	for more := true; more; {
		var err error
		if more, err = t.settleSome(); err != nil {
			return err
		}
	}
	return nil
}

// settleSome does some of it, so that others need not wait for all.
func (t *tables) settleSome() (more bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.now()
	if err != nil {
		return false, err
	}
	more4, err4 := t.sources4.settle(at.monotonic)
	more6, err6 := t.sources6.settle(at.monotonic)
	return more4 || more6, errors.Join(err4, err6)
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
	return errors.Join(t.verdicts4.close(), t.verdicts6.close(), t.marks4.close(), t.marks6.close())
}

// Put writes entries, each over what stands for its prefix. The counters of
// an entry that exists go on, except for what is counted while it is replaced.
// An entry that says nothing new is left alone. A source that is dropped or
// allowed and has room in its bucket costs no system call; of the others that are
// new, thousands share one, and those that are known cost two each.
//
// If any entry is invalid nothing is put and the error is [ErrInvalidEntry].
// If a table is full, what ends first makes room for what ends later, unless
// it is to be kept; whatever then has no room is not put. In both cases the
// error is [ErrFull].
func (t *tables) Put(entries ...Entry) error {
	return t.put(entries, func(netip.Prefix) bool { return false })
}

// put is Put for all but some entries.
func (t *tables) put(entries []Entry, leaveOut func(netip.Prefix) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.now()
	if err != nil {
		return err
	}
	halves := &t.halves
	if len(entries) > keepRoom {
		defer func() { t.halves, t.sources4.sorted, t.sources6.sorted = [2]toPut{}, nil, nil }()
	}
	if err := take(halves, entries, at, leaveOut); err != nil {
		return err
	}
	if err := t.wide.add(halves[0].wide | halves[1].wide); err != nil {
		return err
	}
	before := t.leftOut()
	limit := func(i uint32) datapathEntry { return entries[i].toKernel(at) }
	if err := t.sources4.putRows([2][]row{halves[0].sources[sources4], halves[1].sources[sources4]}, limit); err != nil {
		return err
	}
	if err := t.sources6.putRows([2][]row{halves[0].sources[sources6], halves[1].sources[sources6]}, limit); err != nil {
		return err
	}
	prefixes := prefixRows{carry4: !t.prefixes4.empty(), carry6: !t.prefixes6.empty()}
	for block := range slices.Chunk(slices.Concat(halves[0].prefixes, halves[1].prefixes), putSize) {
		for _, i := range block {
			value := entries[i].toKernel(at)
			prefixes.add(entries[i].Prefix, &value)
		}
		if err := t.putPrefixes(&prefixes); err != nil {
			return err
		}
	}
	return t.full(before)
}

// putSize is how many prefixes are written at once.
const putSize = 1 << 15

// prefixRows are rows of the tables of prefixes that wait to be put.
type prefixRows struct {
	keys           sorted
	values         [4][]datapathEntry
	carry4, carry6 bool // the tables were not empty
}

func (r *prefixRows) add(p netip.Prefix, value *datapathEntry) {
	which := r.keys.add(p)
	r.values[which] = append(r.values[which], *value)
}

func (t *tables) putPrefixes(r *prefixRows) error {
	err := errors.Join(
		t.prefixes4.put(r.keys.prefixes4, r.values[prefixes4], r.carry4),
		t.prefixes6.put(r.keys.prefixes6, r.values[prefixes6], r.carry6),
	)
	*r = prefixRows{carry4: r.carry4, carry6: r.carry6}
	return err
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

// full returns the error for what was left out since it was before.
func (t *tables) full(before [4]leftOut) error {
	names := [...]string{sources4: t.sources4.name, sources6: t.sources6.name, prefixes4: t.prefixes4.name, prefixes6: t.prefixes6.name}
	var errs []error
	for i, now := range t.leftOut() {
		refused, displaced := now.refused-before[i].refused, now.displaced-before[i].displaced
		if refused+displaced > 0 {
			errs = append(errs, fmt.Errorf("put entries: %w: %s: all %d entries are taken, and there was no room for %d more; %d that end first made room",
				ErrFull, names[i], t.sources4.capacity, refused, displaced))
		}
	}
	return errors.Join(errs...)
}

// leftOut counts what a table had no room for.
type leftOut struct{ refused, displaced uint64 }

func (t *tables) leftOut() [4]leftOut {
	return [...]leftOut{
		sources4:  {t.sources4.refused, t.sources4.displaced},
		sources6:  {t.sources6.refused, t.sources6.displaced},
		prefixes4: {t.prefixes4.refused, t.prefixes4.displaced},
		prefixes6: {t.prefixes6.refused, t.prefixes6.displaced},
	}
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
	bits := uint16(p.Bits())
	switch tableOf(p) {
	case sources4:
		value, found, err = t.sources4.under(keyOfSource4(p))
	case sources6:
		value, found, err = t.sources6.under(keyOfSource6(p))
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
func (t *tables) Entries() iter.Seq2[Entry, error] { return t.entriesBut(nil, nil) }

// entriesBut is Entries, less the sources that have one of some slots.
func (t *tables) entriesBut(slots4, slots6 slotSet) iter.Seq2[Entry, error] {
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
		_ = each(t.sources4.allBut(slots4), at, prefixOfSource4, yield) &&
			each(t.sources6.allBut(slots6), at, prefixOfSource6, yield) &&
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

	// Since Open: entries that found no room, and those that made room for
	// others because they ended before all others.
	Refused   uint64
	Displaced uint64
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
