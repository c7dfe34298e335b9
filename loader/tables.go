package loader

import (
	"errors"
	"iter"
	"net/netip"
	"sync"
)

// tables are the four verdict tables and the rule which of them a prefix
// stands in.
type tables struct {
	mu     sync.Mutex
	clocks clocks

	sources4  *table[datapathSource4]
	sources6  *table[datapathSource6]
	prefixes4 *table[datapathPrefix4]
	prefixes6 *table[datapathPrefix6]
}

func newTables(maps *datapathMaps, clocks clocks) (*tables, error) {
	t := &tables{clocks: clocks}
	var errs [4]error
	t.sources4, errs[0] = newTable[datapathSource4]("IPv4 sources", maps.Sources4)
	t.sources6, errs[1] = newTable[datapathSource6]("IPv6 sources", maps.Sources6)
	t.prefixes4, errs[2] = newTable[datapathPrefix4]("IPv4 prefixes", maps.Prefixes4)
	t.prefixes6, errs[3] = newTable[datapathPrefix6]("IPv6 prefixes", maps.Prefixes6)
	return t, errors.Join(errs[:]...)
}

// Put writes entries, each over what stands for its prefix. The counters of
// an entry that exists go on, except for packets that are counted in the
// microseconds between its reading and its replacing: those are lost. An
// entry that says nothing new is left alone.
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
	at, err := t.clocks.read()
	if err != nil {
		return err
	}
	for i := range entries {
		p, value := entries[i].Prefix, entries[i].toKernel(at)
		var err error
		switch {
		case p.Addr().Is4() && p.IsSingleIP():
			err = t.sources4.put(source4(p), value)
		case p.Addr().Is4():
			err = t.prefixes4.put(prefix4(p), value)
		case p.Bits() == sourceBits6:
			err = t.sources6.put(source6(p), value)
		default:
			err = t.prefixes6.put(prefix6(p), value)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, t.sources4.flush(), t.sources6.flush(), t.prefixes4.flush(), t.prefixes6.flush())
	return errors.Join(errs...)
}

// Delete removes what stands for exactly these prefixes. One for which
// nothing stands is no error.
func (t *tables) Delete(prefixes ...netip.Prefix) error {
	var (
		s4 []datapathSource4
		s6 []datapathSource6
		p4 []datapathPrefix4
		p6 []datapathPrefix6
	)
	for _, p := range prefixes {
		if err := validatePrefix(p); err != nil {
			return err
		}
		switch {
		case p.Addr().Is4() && p.IsSingleIP():
			s4 = append(s4, source4(p))
		case p.Addr().Is4():
			p4 = append(p4, prefix4(p))
		case p.Bits() == sourceBits6:
			s6 = append(s6, source6(p))
		default:
			p6 = append(p6, prefix6(p))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.sources4.delete(s4), t.sources6.delete(s6), t.prefixes4.delete(p4), t.prefixes6.delete(p6))
}

// Get returns the entry that stands for exactly this prefix.
func (t *tables) Get(p netip.Prefix) (Entry, bool, error) {
	if err := validatePrefix(p); err != nil {
		return Entry{}, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.clocks.read()
	if err != nil {
		return Entry{}, false, err
	}
	var value datapathEntry
	var found bool
	switch {
	case p.Addr().Is4() && p.IsSingleIP():
		value, found, err = t.sources4.get(source4(p))
	case p.Addr().Is4():
		value, found, err = t.prefixes4.get(prefix4(p))
	case p.Bits() == sourceBits6:
		value, found, err = t.sources6.get(source6(p))
	default:
		value, found, err = t.prefixes6.get(prefix6(p))
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
		at, err := t.clocks.read()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		_ = each(t.sources4, at, prefixOfSource4, yield) &&
			each(t.sources6, at, prefixOfSource6, yield) &&
			each(t.prefixes4, at, prefixOfPrefix4, yield) &&
			each(t.prefixes6, at, prefixOfPrefix6, yield)
	}
}

// each yields the entries of one table and reports whether to go on.
func each[K comparable](t *table[K], at moment, prefix func(K) netip.Prefix, yield func(Entry, error) bool) bool {
	for row, err := range t.all() {
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

// Fill returns how full the four verdict tables are.
func (t *tables) Fill() []Fill {
	t.mu.Lock()
	defer t.mu.Unlock()
	return []Fill{t.sources4.fill(), t.sources6.fill(), t.prefixes4.fill(), t.prefixes6.fill()}
}
