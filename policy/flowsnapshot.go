package policy

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"
)

// flowMagic begins a snapshot of a Flow; its last byte is the version. After
// it stand the time, users, shares, sources, senders, known sources and limited
// users, each entry behind a 1 and each list ended by a 0, and a CRC-32C of all
// before. Numbers are varints. Version 1 had no limited users.
const (
	flowMagic    = "weirflow\x02"
	flowVersion1 = "weirflow\x01"
)

// MarshalBinary writes what was counted, who is known from where, and what is
// left in the buckets of limited users. What stands on users is the ledger's.
func (f *Flow) MarshalBinary() ([]byte, error) {
	s := f.Save()
	for !s.Step(1 << 20) {
	}
	return slices.Concat(s.Parts()...), nil
}

// FlowSaver writes a Flow in steps, between which it may be used: two hundred
// thousand users are too many for anybody to wait for. Each user is written as
// it is at that moment.
type FlowSaver struct {
	flow    *Flow
	pieces  pieces
	w       flowWriter // into the last of them
	limited []string   // users, as they were when it began
	table   int        // that is being written, of six
	next    int        // place in it
}

// Save begins to write f.
func (f *Flow) Save() *FlowSaver {
	s := &FlowSaver{flow: f, limited: slices.Sorted(maps.Keys(f.throttle.users))}
	s.w.out = append(s.pieces.room(), flowMagic...)
	s.w.number(f.Quotas.now)
	return s
}

// Step writes some n entries more, and reports whether that was all.
func (s *FlowSaver) Step(n int) (done bool) {
	q, k := s.flow.Quotas, s.flow.Known
	for ; n > 0; n-- {
		s.pieces.last = s.w.out
		s.w.out = s.pieces.room()
		more := false
		switch s.table {
		case 0:
			more = writeAccount(s, &q.users, s.w.text)
		case 1:
			more = writeAccount(s, &q.shared, s.w.share)
		case 2:
			more = writeAccount(s, &q.sources, s.w.source)
		case 3:
			more = writeAccount(s, &q.senders, s.w.text)
		case 4:
			if more = s.next < k.ring.len(); more {
				s.w.known(k.ring.at(s.next))
			}
		case 5:
			if more = s.next < len(s.limited); more {
				s.w.limited(s.limited[s.next], s.flow.throttle.users[s.limited[s.next]])
			}
		default:
			return true
		}
		if s.next++; !more {
			s.w.out = append(s.w.out, 0)
			s.table, s.next = s.table+1, 0
		}
	}
	return s.table > 5
}

// Parts returns what was written, once Step has reported that it is done: one
// after the other they are what UnmarshalBinary reads. It may be called where
// the Flow may not.
func (s *FlowSaver) Parts() [][]byte {
	s.pieces.last = s.w.out
	return sealed(s.pieces.all())
}

// writeAccount writes the next account of t, if it has spent something, and
// reports whether there was one.
func writeAccount[K comparable](s *FlowSaver, t *accounts[K], key func(K)) bool {
	if s.next >= t.ring.len() {
		return false
	}
	h := t.ring.at(s.next)
	if len(h.windows) > 0 {
		s.w.out = append(s.w.out, 1)
		key(h.key)
		s.w.number(int64(len(h.windows)))
		for i := range h.windows {
			s.w.window(&h.windows[i])
		}
	}
	return true
}

type flowWriter struct{ out []byte }

func (w *flowWriter) number(n int64) { w.out = binary.AppendVarint(w.out, n) }

func (w *flowWriter) text(s string) {
	w.number(int64(len(s)))
	w.out = append(w.out, s...)
}

func (w *flowWriter) source(s Source) {
	w.out = append(w.out, s.family)
	w.out = binary.LittleEndian.AppendUint64(w.out, s.net)
}

func (w *flowWriter) share(s quotaShare) {
	w.out = append(w.out, byte(s.party))
	w.text(s.name)
}

func (w *flowWriter) known(u *knownUser) {
	w.out = append(w.out, 1)
	w.text(u.name)
	w.number(u.last)
	n := 0
	for i := range u.sources {
		if u.sources[i].Source.IsValid() {
			n++
		}
	}
	w.out = append(w.out, byte(n))
	for _, s := range u.sources {
		if s.Source.IsValid() {
			w.source(s.Source)
			w.number(s.First)
			w.number(s.Last)
		}
	}
}

// limited writes a limited user, nothing if it is one no more.
func (w *flowWriter) limited(name string, u *throttled) {
	if u == nil {
		return
	}
	w.out = append(w.out, 1)
	w.text(name)
	for _, n := range []int64{int64(u.rate.Every), int64(u.rate.Burst), u.rate.Bytes, u.at} {
		w.number(n)
	}
	w.real(u.level)
	n := 0
	for i := range u.sharers {
		if u.sharers[i].source.IsValid() {
			n++
		}
	}
	w.out = append(w.out, byte(n))
	for _, s := range u.sharers {
		if !s.source.IsValid() {
			continue
		}
		known := byte(0)
		if s.known {
			known = 1
		}
		w.source(s.source)
		w.out = append(w.out, known)
		w.real(s.used)
		w.number(s.at)
	}
}

func (w *flowWriter) real(f float64) {
	w.out = binary.LittleEndian.AppendUint64(w.out, math.Float64bits(f))
}

func (w *flowWriter) window(win *quotaWindow) {
	w.out = append(w.out, byte(win.measure))
	w.number(int64(win.within))
	w.number(win.newest)
	w.number(win.tat)
	used := int64(0)
	for _, c := range win.counts {
		if c > 0 {
			used++
		}
	}
	w.number(used)
	for i, c := range win.counts {
		if c > 0 {
			w.out = append(w.out, byte(i))
			w.number(int64(c))
		}
	}
}

// UnmarshalBinary replaces what was counted, left and known by what
// MarshalBinary wrote; rules and what stands stay. On an error, which matches
// ErrSnapshot, nothing changes.
func (f *Flow) UnmarshalBinary(data []byte) error {
	end := len(data) - crc32.Size
	switch {
	case end < len(flowMagic) || string(data[:len(flowMagic)]) != flowMagic && string(data[:len(flowMagic)]) != flowVersion1:
		return fmt.Errorf("restore quotas: %w: it does not begin as one of this version", ErrSnapshot)
	case crc32.Checksum(data[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(data[end:]):
		return fmt.Errorf("restore quotas: %w: its checksum is wrong", ErrSnapshot)
	}
	r := flowReader{rest: data[len(flowMagic):end]}
	q := *f.Quotas
	q.Clear()
	q.now = r.number()
	readAccounts(&r, &q.users, func() string { return r.text() })
	readAccounts(&r, &q.shared, func() quotaShare { return quotaShare{QuotaParty(r.byte()), r.text()} })
	readAccounts(&r, &q.sources, r.source)
	readAccounts(&r, &q.senders, func() string { return r.text() })
	known := NewKnownSources(f.Known.most)
	for r.more() {
		name, last := r.text(), r.number()
		var sources knownSources
		n := int(r.byte())
		if n > len(sources) {
			r.fail()
			break
		}
		for i := range n {
			sources[i] = KnownSource{r.source(), r.number(), r.number()}
		}
		if r.bad {
			break
		}
		u := known.open(name)
		u.last, u.sources = last, sources
	}
	throttle := NewThrottle(f.throttle.most)
	if string(data[:len(flowMagic)]) != flowVersion1 {
		for r.more() {
			name, u := r.limited()
			if !r.bad && len(throttle.users) < throttle.most {
				throttle.users[name] = u
			}
		}
	}
	if r.bad || len(r.rest) > 0 {
		return fmt.Errorf("restore quotas: %w: its parts do not fit together", ErrSnapshot)
	}
	*f.Quotas, f.Known, f.throttle = q, known, throttle
	return nil
}

// flowReader reads a snapshot. Once it is bad, all it reads is zero.
type flowReader struct {
	rest []byte
	bad  bool
}

func (r *flowReader) fail() {
	r.bad, r.rest = true, nil
}

func (r *flowReader) number() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// more reports whether a list goes on.
func (r *flowReader) more() bool {
	switch r.byte() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail()
	return false
}

// count reads the length of a list, each of whose entries takes a byte at
// least.
func (r *flowReader) count() int64 {
	n := r.number()
	if n < 0 || n > int64(len(r.rest)) {
		r.fail()
		return 0
	}
	return n
}

func (r *flowReader) bytes(n int64) []byte {
	if n < 0 || n > int64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *flowReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *flowReader) text() string { return string(r.bytes(r.number())) }

func (r *flowReader) source() Source {
	s := Source{family: r.byte()}
	if b := r.bytes(8); b != nil {
		s.net = binary.LittleEndian.Uint64(b)
	}
	if s.family != 0 && s.family != 4 && s.family != 6 {
		r.fail()
		return Source{}
	}
	return s
}

func readAccounts[K comparable](r *flowReader, t *accounts[K], key func() K) {
	for r.more() {
		k := key()
		var windows []quotaWindow
		for range r.count() {
			windows = append(windows, r.window())
		}
		if r.bad {
			return
		}
		if t.ring.len() < t.most {
			t.open(k, 0).windows = windows
		}
	}
}

func (r *flowReader) window() quotaWindow {
	var w quotaWindow
	w.measure = Measure(r.byte())
	w.within, w.newest, w.tat = time.Duration(r.number()), r.number(), r.number()
	for range r.count() {
		i, n := r.byte(), r.number()
		if int(i) >= len(w.counts) || n < 0 || n > int64(^uint32(0)) {
			r.fail()
			break
		}
		w.sum += uint64(n) - uint64(w.counts[i])
		w.counts[i] = uint32(n)
	}
	if w.within <= 0 || w.newest < 0 || w.measure != MeasureRecipients && w.measure != MeasureEvents {
		r.fail()
	}
	return w
}

func (r *flowReader) limited() (name string, u *throttled) {
	name = r.text()
	u = &throttled{rate: Rate{Every: time.Duration(r.number()), Burst: int(r.number()), Bytes: r.number()}, at: r.number()}
	u.level = r.real(math.Inf(-1), bucketOf(u.rate)) // below 0: what a large message took in advance
	n := int(r.byte())
	if u.rate.Every <= 0 || n > len(u.sharers) {
		r.fail()
		return "", nil
	}
	for i := range n {
		u.sharers[i] = sharer{source: r.source(), known: r.byte() != 0, used: r.real(0, math.MaxFloat64), at: r.number()}
	}
	return name, u
}

// real reads a number between two.
func (r *flowReader) real(least, most float64) float64 {
	b := r.bytes(8)
	if b == nil {
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(b))
	if !(f >= least && f <= most) || math.IsInf(f, 0) {
		r.fail()
		return 0
	}
	return f
}
