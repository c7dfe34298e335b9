package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"weir/loader"
)

// tableFigures are those of the verdict table itself.
type tableFigures struct {
	filled     uint32
	fill       time.Duration // one Put of all, into an empty table
	one, worst time.Duration // one Put of one source, median and 99th percentile
	memory     []tableMemory
}

// tableMemory is what the kernel holds for the sources of one family.
type tableMemory struct {
	flagged     uint32
	four, six   uint64  // bytes, of all maps of the family
	four1, six1 float64 // the same for each source
}

// singlePuts is how many single sources are put, one after the other.
const singlePuts = 1000

func (b *datapathBench) table(ctx context.Context) (f tableFigures, err error) {
	f.filled = min(usual, b.sources[len(b.sources)-1])
	w, err := b.openWeir("table", f.filled+singlePuts)
	if err != nil {
		return f, err
	}
	drop := loader.Entry{Action: loader.ActionDrop}
	entries := make([]loader.Entry, f.filled)
	for i := range f.filled {
		entries[i] = entryOf(i, false, drop)
	}
	began := time.Now()
	if err := w.Put(entries...); err != nil {
		return f, err
	}
	f.fill = time.Since(began)

	took := make([]time.Duration, singlePuts)
	for i := range took {
		e := entryOf(unflagged+uint32(i), false, drop)
		began := time.Now()
		if err := w.Put(e); err != nil {
			return f, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	f.one, f.worst = took[len(took)/2], took[len(took)*99/100]

	for _, w := range b.weirs[max(0, len(b.weirs)-2):] { // with fewer sources, little is in use
		if err := ctx.Err(); err != nil {
			return f, err
		}
		m, err := w.memory()
		if err != nil {
			return f, err
		}
		f.memory = append(f.memory, m)
	}
	return f, nil
}

// memory adds up what the kernel says of each map (memlock in its fdinfo).
// A map's name ends with its family; the tries of prefixes have nothing in
// them.
func (w *weir) memory() (m tableMemory, err error) {
	m.flagged = w.flagged
	p, err := w.program()
	if err != nil {
		return m, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return m, err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		name, bytes, err := mapMemory(id)
		if err != nil {
			return m, err
		}
		switch {
		case strings.HasSuffix(name, "4"):
			m.four += bytes
		case strings.HasSuffix(name, "6"):
			m.six += bytes
		}
	}
	m.four1, m.six1 = float64(m.four)/float64(m.flagged), float64(m.six)/float64(m.flagged)
	return m, nil
}

func mapMemory(id ebpf.MapID) (name string, bytes uint64, err error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return "", 0, err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return "", 0, err
	}
	bytes, _ = info.Memlock()
	return info.Name, bytes, nil
}
