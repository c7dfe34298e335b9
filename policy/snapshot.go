package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
)

// ErrSnapshot is matched by errors of UnmarshalBinary: the snapshot is
// damaged or of a version that this weir does not know.
var ErrSnapshot = errors.New("not a usable snapshot of the policy engine")

// snapshotMagic begins a snapshot; its last byte is the version. The form
// after it: the body, then a CRC-32C of all before. Numbers are varints
// (encoding/binary), times are nanoseconds before the engine's own time.
//
//	body:    now, labels, definitions of rules, names, sources, users, nets, site
//	sources: count, hands of the clock and of the windows, entries 1 to count
//	users:   the same
//	nets:    count, hand, entries 1 to count
const snapshotMagic = "weirpol\x03"

// snapshotBefore is the version before, which is read as well: it does not tell
// the lines of what counts against neighbourhoods, the parts of these that are
// under a decision, how much mail users submit, nor in which country they were.
const snapshotBefore = 2

// snapshotPart is about how long the parts of a snapshot are.
const snapshotPart = 1 << 20

// Snapshot writes the engine's whole state, but not its rules. An engine that
// continues from it decides exactly as this one would. It comes in parts, which
// one after the other are what UnmarshalBinary reads: those of a million sources
// are 200 MB, and to put them together would take as much once more.
func (e *Engine) Snapshot() [][]byte {
	w := snapshotWriter{engine: e, numbers: make(map[uint32]uint64), out: make([]byte, 0, snapshotPart+snapshotPart/8)}
	w.sources()
	w.users()
	w.nets()
	w.site()
	entries := append(w.parts, w.out)

	w.out = append([]byte(nil), snapshotMagic...)
	w.number(uint64(e.now))
	w.number(uint64(len(e.labels.words)))
	for _, word := range e.labels.words {
		w.text(word)
	}
	w.number(uint64(len(e.plans)))
	for i := range e.plans {
		w.number(uint64(e.plans[i].rule.Per))
		id := fingerprint(e.plans[i].rule)
		w.out = append(w.out, id[:]...)
	}
	w.number(uint64(len(w.names)))
	for _, i := range w.names {
		w.text(e.names.name(i))
	}
	parts := append([][]byte{w.out}, entries...)
	sum := uint32(0)
	for _, part := range parts {
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), part)
	}
	return append(parts, binary.LittleEndian.AppendUint32(nil, sum))
}

// fingerprint is equal for equal rules only.
func fingerprint(r *Rule) [sha256.Size]byte { return sha256.Sum256([]byte(r.definition())) }

// snapshotWriter builds a snapshot. Names are numbered from 1 in the order
// in which they are first met.
type snapshotWriter struct {
	engine  *Engine
	parts   [][]byte // that are full
	out     []byte   // the one that is being written
	names   []uint32
	numbers map[uint32]uint64
}

// cut begins another part if this one is full.
func (w *snapshotWriter) cut() {
	if len(w.out) >= snapshotPart {
		w.parts = append(w.parts, w.out)
		w.out = make([]byte, 0, cap(w.out))
	}
}

func (w *snapshotWriter) number(n uint64) { w.out = binary.AppendUvarint(w.out, n) }

// time writes a time, 0 for none.
func (w *snapshotWriter) time(at int64) {
	if at == 0 {
		w.number(0)
		return
	}
	w.out = binary.AppendUvarint(w.out, zigzag(w.engine.now-at)+1)
}

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func (w *snapshotWriter) text(s string) {
	w.number(uint64(len(s)))
	w.out = append(w.out, s...)
}

func (w *snapshotWriter) name(i uint32) {
	if i == 0 {
		w.number(0)
		return
	}
	n := w.numbers[i]
	if n == 0 {
		w.names = append(w.names, i)
		n = uint64(len(w.names))
		w.numbers[i] = n
	}
	w.number(n)
}

func (w *snapshotWriter) source(s Source) {
	w.out = append(w.out, s.family)
	w.out = binary.LittleEndian.AppendUint64(w.out, s.net)
}

func (w *snapshotWriter) familiarity(f familiarity) {
	w.time(f.first)
	w.time(f.last)
}

// flags writes what can be true of an entry.
func (w *snapshotWriter) flags(used bool, c class, t *tally) {
	f := byte(c) << 3
	for i, set := range []bool{used, t.counted, t.block != 0} {
		if set {
			f |= 1 << i
		}
	}
	w.out = append(w.out, f)
}

func (w *snapshotWriter) sources() {
	e := w.engine
	w.number(uint64(e.sources.len()))
	w.number(uint64(e.sources.hand))
	w.number(uint64(e.bySource.hand))
	for n := uint32(1); n <= e.sources.len(); n++ {
		s := e.sources.at(n)
		slot := e.sources.slots.at(n)
		w.flags(slot.used, slot.class, &s.tally)
		w.source(s.source)
		w.familiarity(s.familiar)
		w.time(s.until)
		w.number(uint64(s.offences))
		w.number(uint64(s.action))
		w.number(uint64(s.by))
		w.number(uint64(s.blamed))
		w.number(uint64(s.flags))
		w.number(uint64(s.users))
		w.number(uint64(s.grace))
		w.number(uint64(s.accepted))
		w.number(uint64(s.knocked))
		w.number(uint64(s.gap))
		w.number(uint64(s.steady))
		for _, t := range s.tried {
			w.number(uint64(t))
		}
		w.windows(&e.bySource, s.block)
		w.cut()
	}
}

func (w *snapshotWriter) users() {
	e := w.engine
	w.number(uint64(e.users.len()))
	w.number(uint64(e.users.hand))
	w.number(uint64(e.byUser.hand))
	for n := uint32(1); n <= e.users.len(); n++ {
		u := e.users.at(n)
		slot := e.users.slots.at(n)
		w.flags(slot.used, slot.class, &u.tally)
		w.name(u.name)
		w.homes(u.homes[:])
		w.homes(u.nets[:])
		w.time(u.doubt)
		w.time(u.grace)
		w.number(uint64(u.country))
		w.time(u.there)
		w.number(uint64(math.Float32bits(u.daily)))
		w.number(uint64(u.today))
		w.number(uint64(u.day))
		w.number(uint64(u.lead))
		w.source(u.main)
		w.time(u.until)
		w.number(uint64(u.offences))
		w.number(uint64(u.guard))
		w.windows(&e.byUser, u.block)
		w.cut()
	}
}

func (w *snapshotWriter) homes(all []home) {
	for i := range all {
		w.source(all[i].source)
		if all[i].source.IsValid() {
			w.familiarity(all[i].familiarity)
		}
	}
}

func (w *snapshotWriter) nets() {
	t := &w.engine.nets.nets
	w.number(uint64(t.len()))
	w.number(uint64(t.hand))
	for i := uint32(1); i <= t.len(); i++ {
		slot := t.slots.at(i)
		n := &slot.value
		w.flags(slot.used, slot.class, &tally{})
		w.source(n.source)
		for _, s := range n.ring {
			w.time(s.at)
			w.number(uint64(s.host))
			w.number(uint64(s.line))
			w.number(uint64(s.kind))
		}
		w.number(uint64(n.good))
		w.number(uint64(n.held))
		w.time(n.until)
		w.time(n.praise)
		w.number(uint64(n.offences))
		w.number(uint64(n.action))
		w.number(uint64(n.parts))
		w.cut()
	}
}

func (w *snapshotWriter) site() {
	s := &w.engine.site
	w.time(s.began)
	w.number(s.successes)
	for _, p := range []*pressure{&s.failures, &s.harvest, &s.mail} {
		w.time(p.last)
		w.number(math.Float64bits(p.fast))
		w.number(math.Float64bits(p.slow))
	}
	w.number(uint64(len(s.networks)))
	for _, n := range slices.SortedFunc(maps.Keys(s.networks), Source.compare) {
		w.source(n)
		w.time(s.networks[n].last)
		w.number(uint64(s.networks[n].users))
		w.familiarity(s.networks[n].native)
	}
	q := &w.engine.probation
	w.number(uint64(q.len()))
	for _, one := range q.queue[q.head:] {
		w.time(one.until)
		w.source(one.source)
	}
}

func (w *snapshotWriter) windows(s *side, block uint32) {
	if block == 0 {
		return
	}
	for i := range s.windows(block) {
		win := &s.windows(block)[i]
		w.number(uint64(win.length))
		for j := win.first; j != 0; j = w.engine.seen.at(j).next {
			o := w.engine.seen.at(j)
			w.time(o.at)
			w.number(o.line)
			w.out = append(w.out, o.addr[:]...)
			w.name(o.user)
			w.out = append(w.out, byte(o.kind), o.service, o.server, o.marks)
			w.number(uint64(o.amount))
		}
	}
}

// UnmarshalBinary replaces the engine's state by what Snapshot wrote.
// Its rules and limits stay: what a rule had counted comes back if the engine
// has a rule with the same definition, and what is beyond the limits is left
// out. On an error, which matches ErrSnapshot, nothing changes.
func (e *Engine) UnmarshalBinary(data []byte) error {
	end := len(data) - crc32.Size
	switch {
	case end < len(snapshotMagic) || string(data[:len(snapshotMagic)-1]) != snapshotMagic[:len(snapshotMagic)-1]:
		return fmt.Errorf("restore engine: %w: it does not begin as one", ErrSnapshot)
	case data[len(snapshotMagic)-1] != snapshotMagic[len(snapshotMagic)-1] && data[len(snapshotMagic)-1] != snapshotBefore:
		return fmt.Errorf("restore engine: %w: it has version %d, this weir reads version %d", ErrSnapshot,
			data[len(snapshotMagic)-1], snapshotMagic[len(snapshotMagic)-1])
	case crc32.Checksum(data[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(data[end:]):
		return fmt.Errorf("restore engine: %w: its checksum is wrong", ErrSnapshot)
	}
	return e.restore(data[len(snapshotMagic):end], data[len(snapshotMagic)-1] == snapshotBefore)
}
