package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// walkRows is how many rows of each table of prefixes are read at once: more
// than most hosts have, in less than a millisecond.
const walkRows = 1 << 10

// walk goes round a table of prefixes, some rows at a time: a trie has no place
// that could be chosen by chance, and what somebody else has put into it is met
// when its turn comes.
type walk[K comparable] struct {
	cursor ebpf.MapBatchCursor
}

// next passes the next n rows at most, and begins again behind the last one.
// Where the row that it stood at is gone, the kernel begins again as well.
func (w *walk[K]) next(m *ebpf.Map, n int, row func(K, *datapathEntry)) error {
	keys, values := make([]K, n), make([]datapathEntry, n)
	read, err := m.BatchLookup(&w.cursor, keys, values, nil)
	if err != nil {
		*w = walk[K]{}
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("walk a table of prefixes: %w", err)
		}
	}
	for i := range read {
		row(keys[i], &values[i])
	}
	return nil
}

// walks are those of both tables.
type walks struct {
	prefixes4 walk[datapathPrefix4]
	prefixes6 walk[datapathPrefix6]
}

// next returns the next n entries of each table at most. A single source does
// not stand there, though the program would find it, and nobody can name it to
// have it deleted: one that is met is removed and returned as a stray. The lock
// of the tables is held.
func (w *walks) next(maps *datapathMaps, n int, at moment) (entries []Entry, strays []netip.Prefix, err error) {
	err = errors.Join(
		step(&w.prefixes4, maps.Prefixes4, n, at, prefixOfPrefix4, &entries, &strays),
		step(&w.prefixes6, maps.Prefixes6, n, at, prefixOfPrefix6, &entries, &strays),
	)
	return entries, strays, err
}

func step[K comparable](w *walk[K], m *ebpf.Map, n int, at moment, prefix func(K) netip.Prefix, entries *[]Entry, strays *[]netip.Prefix) error {
	var gone []K
	err := w.next(m, n, func(k K, value *datapathEntry) {
		p := prefix(k)
		if which := tableOf(p); which == prefixes4 || which == prefixes6 {
			*entries = append(*entries, fromKernel(p, value, at))
			return
		}
		gone, *strays = append(gone, k), append(*strays, p)
	})
	for i := range gone {
		if failed := m.Delete(&gone[i]); failed != nil && !errors.Is(failed, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, fmt.Errorf("delete %s from a table of prefixes: %w", prefix(gone[i]), failed))
		}
	}
	return err
}
