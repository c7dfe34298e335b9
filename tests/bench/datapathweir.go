package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"weir/loader"
	"weir/tests/bench/live"
)

// weir is weir's datapath with what it has flagged.
type weir struct {
	*loader.Datapath
	link    *live.Link
	dir     string
	mode    string // in which it must be attached
	flagged uint32
}

// openWeir opens a datapath at the host's end, with its pins in a folder and
// room for n sources, but no less than it has by default. It is attached
// natively, or in another mode that is named.
func openWeir(l *live.Link, dir string, n uint32, other ...string) (*weir, error) {
	w := &weir{link: l, dir: dir, mode: loader.ModeNative, flagged: n}
	o := loader.DefaultOptions()
	if len(other) > 0 {
		o.Modes, w.mode = other, other[0]
	}
	o.Dir = w.dir
	o.Capacity = max(o.Capacity, 1<<bits.Len32(n-1))
	o.Logger = slog.New(slog.DiscardHandler)
	err := l.Host.Do(func() (err error) {
		w.Datapath, err = loader.Open(o)
		return err
	})
	return w, err
}

func (b *datapathBench) openWeir(name string, n uint32, other ...string) (*weir, error) {
	w, err := openWeir(b.link, filepath.Join(live.BPFFS, name), n, other...)
	if err != nil {
		return nil, err
	}
	b.closing = append(b.closing, w.Close)
	return w, nil
}

// follow has weir attached to what the selection means, and nothing else.
func (w *weir) follow(selection string) (attached loader.Attachment, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = w.link.Host.Do(func() error {
		return w.Follow(ctx, []string{selection}, func(all []loader.Attachment) {
			attached = all[0]
			cancel()
		})
	})
	return attached, err
}

func (w *weir) enter() error {
	a, err := w.follow(live.Interface)
	if err == nil && a.Mode != w.mode {
		err = fmt.Errorf("attached in mode %s: %s", a.Mode, a.Reason)
	}
	return err
}

func (w *weir) leave() error {
	_, err := w.follow("none0")
	return err
}

// program returns weir's program, which the link has while it is attached.
func (w *weir) program() (p *ebpf.Program, err error) {
	if err := w.enter(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.leave()) }()
	err = w.link.Host.Do(func() error {
		l, err := link.LoadPinnedLink(filepath.Join(w.dir, "links", fmt.Sprintf("if%d", w.link.Index)), nil)
		if err != nil {
			return err
		}
		defer l.Close()
		info, err := l.Info()
		if err != nil {
			return err
		}
		p, err = ebpf.NewProgramFromID(info.Program)
		return err
	})
	return p, err
}

// exitGate is weir, of which one counter is read.
type exitGate struct {
	*weir
	exit string
}

func (g *exitGate) count() (uint64, error) {
	counters, err := g.Counters()
	if err != nil {
		return 0, err
	}
	for _, c := range counters {
		if c.Name == g.exit {
			return c.Packets, nil
		}
	}
	return 0, fmt.Errorf("weir has no counter %s", g.exit)
}

// entryOf is the entry of one source, in everything else like e.
func entryOf(i uint32, ipv6 bool, e loader.Entry) loader.Entry {
	if ipv6 {
		e.Prefix = netip.PrefixFrom(live.Source6(i), 64)
	} else {
		e.Prefix = netip.PrefixFrom(live.Source4(i), 32)
	}
	return e
}

// putChunk bounds the memory that filling takes.
const putChunk = 1 << 16

// flag puts all sources of the traffic.
func (w *weir) flag(ctx context.Context, t live.Traffic, like loader.Entry) error {
	entries := make([]loader.Entry, 0, putChunk)
	for i := t.First; i < t.First+t.Count; i++ {
		entries = append(entries, entryOf(i, t.IPv6, like))
		if len(entries) == putChunk || i == t.First+t.Count-1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.Put(entries...); err != nil {
				return err
			}
			entries = entries[:0]
		}
	}
	return nil
}

// weirRows are all rows of weir.
func (b *datapathBench) weirRows(ctx context.Context, four, six empties) error {
	add := func(w *weir, what, exit string, t live.Traffic, base *row) *row {
		r := &row{contender: "weir", what: what, flagged: w.flagged, traffic: t, gate: &exitGate{w, exit}, base: base}
		b.rows = append(b.rows, r)
		return r
	}
	drop := loader.Entry{Action: loader.ActionDrop}
	for _, n := range b.sources {
		say("flagging %d sources of each family with weir", n)
		w, err := b.openWeir(fmt.Sprintf("weir_%d", n), n)
		if err != nil {
			return err
		}
		b.weirs = append(b.weirs, w)
		for _, base := range []empties{four, six} {
			t := base.drop.traffic
			t.Count = n
			if err := w.flag(ctx, t, drop); err != nil {
				return err
			}
			family := base.drop.family()
			add(w, "drops "+family, "dropped", t, base.drop).plotted = "weir, " + family
		}
	}
	full := b.weirs[len(b.weirs)-1]
	for _, w := range b.weirs { // what is usual for a large site
		if w.flagged <= usual {
			full = w
		}
	}
	for _, base := range []empties{four, six} {
		t, family := base.pass.traffic, base.pass.family()
		t.First = unflagged
		add(full, "passes openings of others, "+family, "unflagged", t, base.pass)
		t.Opening = false
		add(full, "passes sessions of others, "+family, "unflagged", t, base.pass)
		t.Port, t.First, t.Count = otherPort, 0, full.flagged
		add(full, "passes another port, "+family, "other_port", t, base.pass)
	}
	for _, n := range b.peerSources {
		w, err := b.openWeir(fmt.Sprintf("limit_%d", n), n)
		if err != nil {
			return err
		}
		t := four.drop.traffic
		t.Count = n
		if err := w.flag(ctx, t, loader.Entry{Action: loader.ActionLimit, Every: 24 * time.Hour, Burst: 1}); err != nil {
			return err
		}
		if err := b.overLimit(w, t); err != nil {
			return err
		}
		add(w, "drops openings over the limit, IPv4", "over_limit", t, four.drop)
	}
	w, err := b.openWeir("prefixes", b.prefixes)
	if err != nil {
		return err
	}
	for _, base := range []empties{four, six} {
		if err := w.flagPrefixes(base.drop.traffic.IPv6); err != nil {
			return err
		}
		t, family := base.drop.traffic, base.drop.family()
		t.Count, t.Spread = b.prefixes, prefixSpread
		add(w, "drops openings by prefix, "+family, "dropped", t, base.drop)
		t.Elsewhere = true
		t.Opening = false
		add(w, "passes sessions in prefixes, "+family, "unflagged", t, base.pass)
	}
	return nil
}

// overLimit has nearly every source use up what its limit grants.
func (b *datapathBench) overLimit(w *weir, t live.Traffic) (err error) {
	g, err := b.link.NewGenerator(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := w.enter(); err != nil {
		return err
	}
	_, _, err = g.Run(2*time.Microsecond*time.Duration(t.Count), func() error { return nil })
	return errors.Join(err, w.leave())
}

// usual is how full the tables are at most where traffic passes them.
const usual = 1_000_000

// prefixSpread is how many bits of a source are free in every prefix.
const prefixSpread = 8

// flagPrefixes puts prefixes of mixed lengths around the first sources.
func (w *weir) flagPrefixes(ipv6 bool) error {
	const lengths = 12
	entries := make([]loader.Entry, w.flagged)
	for i := range w.flagged {
		e := entryOf(i, ipv6, loader.Entry{Action: loader.ActionDrop})
		e.Prefix = netip.PrefixFrom(e.Prefix.Addr(), e.Prefix.Bits()-prefixSpread-int(i%lengths)).Masked()
		entries[i] = e
	}
	return w.Put(entries...)
}

func (r *row) family() string {
	if r.traffic.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}
