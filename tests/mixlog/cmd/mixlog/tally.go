package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"weir/tests/mixlog"
)

// tally counts what a log is made of.
type tally struct {
	lines, bytes     uint64
	programs, events map[string]uint64
}

func newTally() *tally {
	return &tally{programs: make(map[string]uint64), events: make(map[string]uint64)}
}

func (t *tally) add(r *mixlog.Record) {
	t.lines++
	t.bytes += uint64(len(r.Line)) + 1
	t.programs[r.Program]++
	for _, e := range r.Events {
		t.events[e.Kind.String()+" "+e.Server]++
	}
}

func (t *tally) write(w io.Writer) {
	fmt.Fprintf(w, "%d lines, %d bytes\n", t.lines, t.bytes)
	for _, counts := range []map[string]uint64{t.programs, t.events} {
		names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Compare(counts[b], counts[a]) })
		for _, name := range names {
			fmt.Fprintf(w, "%10d %5.2f %%  %s\n", counts[name], 100*float64(counts[name])/float64(t.lines), name)
		}
	}
}
