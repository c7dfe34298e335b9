package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
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

// Snapshot writes the engine's whole state, but not its rules. An engine that
// continues from it decides exactly as this one would. It comes in parts, as
// those of a Saver, which does it bit by bit.
func (e *Engine) Snapshot() [][]byte {
	s := e.Save()
	s.finish()
	return s.Parts()
}

// fingerprint is equal for equal rules only.
func fingerprint(r *Rule) [sha256.Size]byte { return sha256.Sum256([]byte(r.definition())) }

// appendTime writes a time, 0 for none.
func (s *Saver) appendTime(b []byte, at int64) []byte {
	if at == 0 {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, zigzag(s.now-at)+1)
}

func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendName writes the number of a name. They are numbered from 1 in the order
// in which they are first met, and each is written then: when somebody else has
// its place in the table, whoever had it is written already.
func (s *Saver) appendName(b []byte, i uint32) []byte {
	if i == 0 {
		return append(b, 0)
	}
	chunk := &s.numbers[i>>chunkBits]
	if *chunk == nil {
		*chunk = make([]uint32, chunkSize)
	}
	n := &(*chunk)[i&chunkMask]
	if *n == 0 {
		s.count++
		*n = uint32(s.count)
		s.names.last = appendText(s.names.room(), s.engine.names.name(i))
	}
	return binary.AppendUvarint(b, uint64(*n))
}

func appendSource(b []byte, s Source) []byte {
	return binary.LittleEndian.AppendUint64(append(b, s.family), s.net)
}

func (s *Saver) appendFamiliarity(b []byte, f familiarity) []byte {
	return s.appendTime(s.appendTime(b, f.first), f.last)
}

// appendFlags writes what can be true of an entry.
func appendFlags(b []byte, n note, block bool) []byte {
	f := byte(n.class()) << 3
	for i, set := range []bool{n&noteUsed != 0, n&noteCounted != 0, block} {
		if set {
			f |= 1 << i
		}
	}
	return append(b, f)
}

func appendNumbers[N uint8 | uint16 | uint32 | Action | Kind](b []byte, numbers ...N) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// source writes entry i of sources.
func (w *Saver) source(b []byte, i uint32) []byte {
	s := w.engine.sources.at(i)
	b = appendFlags(b, w.tables[0].notes[i], s.block != 0)
	b = appendSource(b, s.source)
	b = w.appendFamiliarity(b, s.familiar)
	b = w.appendTime(b, s.until)
	b = appendNumbers(b, s.offences)
	b = appendNumbers(b, s.action)
	b = appendNumbers(b, s.by, s.blamed, s.flags)
	b = appendNumbers(b, s.users, s.grace)
	b = appendNumbers(b, s.accepted)
	b = appendNumbers(b, s.knocked, s.gap)
	b = appendNumbers(b, s.steady)
	b = appendNumbers(b, s.tried[:]...)
	return w.appendWindows(b, &w.engine.bySource, s.block)
}

// user writes entry i of users.
func (w *Saver) user(b []byte, i uint32) []byte {
	u := w.engine.users.at(i)
	b = appendFlags(b, w.tables[1].notes[i], u.block != 0)
	b = w.appendName(b, u.name)
	b = w.appendHomes(b, u.homes[:])
	b = w.appendHomes(b, u.nets[:])
	b = w.appendTime(b, u.doubt)
	b = w.appendTime(b, u.grace)
	b = appendNumbers(b, u.country)
	b = w.appendTime(b, u.there)
	b = appendNumbers(b, math.Float32bits(u.daily), u.today)
	b = binary.AppendUvarint(b, uint64(u.day))
	b = appendNumbers(b, u.lead)
	b = appendSource(b, u.main)
	b = w.appendTime(b, u.until)
	b = appendNumbers(b, u.offences)
	b = appendNumbers(b, u.guard)
	return w.appendWindows(b, &w.engine.byUser, u.block)
}

func (w *Saver) appendHomes(b []byte, all []home) []byte {
	for i := range all {
		b = appendSource(b, all[i].source)
		if all[i].source.IsValid() {
			b = w.appendFamiliarity(b, all[i].familiarity)
		}
	}
	return b
}

// net writes entry i of neighbourhoods.
func (w *Saver) net(b []byte, i uint32) []byte {
	n := w.engine.nets.nets.at(i)
	b = appendFlags(b, w.tables[2].notes[i], false)
	b = appendSource(b, n.source)
	for _, s := range n.ring {
		b = w.appendTime(b, s.at)
		b = appendNumbers(b, s.host)
		b = appendNumbers(b, s.line)
		b = appendNumbers(b, s.kind)
	}
	b = appendNumbers(b, n.good, n.held)
	b = w.appendTime(b, n.until)
	b = w.appendTime(b, n.praise)
	b = appendNumbers(b, n.offences)
	b = appendNumbers(b, n.action)
	return appendNumbers(b, uint32(n.parts))
}

// site writes what is known of the site, without its networks.
func (w *Saver) site() []byte {
	s := &w.engine.site
	b := w.appendTime(nil, s.began)
	b = binary.AppendUvarint(b, s.successes)
	for _, p := range []*pressure{&s.failures, &s.harvest, &s.mail} {
		b = w.appendTime(b, p.last)
		b = binary.AppendUvarint(b, math.Float64bits(p.fast))
		b = binary.AppendUvarint(b, math.Float64bits(p.slow))
	}
	return b
}

// network writes entry i of the site's networks.
func (w *Saver) network(b []byte, i uint32) []byte {
	n := w.engine.site.networks.all.at(i)
	b = appendSource(b, n.source)
	b = w.appendTime(b, n.last)
	b = appendNumbers(b, n.users)
	return w.appendFamiliarity(b, n.native)
}

func (w *Saver) appendWindows(b []byte, s *side, block uint32) []byte {
	if block == 0 {
		return b
	}
	for i := range s.windows(block) {
		win := &s.windows(block)[i]
		b = appendNumbers(b, win.length)
		for j := win.first; j != 0; j = w.engine.seen.at(j).next {
			o := w.engine.seen.at(j)
			b = w.appendTime(b, o.at)
			b = binary.AppendUvarint(b, o.line)
			b = append(b, o.addr[:]...)
			b = w.appendName(b, o.user)
			b = append(b, byte(o.kind), o.service, o.server, o.marks)
			b = appendNumbers(b, o.amount)
		}
	}
	return b
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
	if e.saver != nil {
		e.saver.finish()
	}
	return e.restore(data[len(snapshotMagic):end], data[len(snapshotMagic)-1] == snapshotBefore)
}
