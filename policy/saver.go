package policy

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// Saver writes the state that an engine had when Save was called, in steps
// between which the engine may be used: a million sources are too many for
// anybody to wait for.
//
// It goes through the entries of one table after the other. An entry that is
// about to change and was not written yet is written then, and put in its place
// when its turn comes. What every entry has and changes often, its notes, is
// copied at the beginning, and so is what there is little of. So each entry is
// written once, and until its table is done, what had to be written early is
// held twice: that is all the memory a Saver takes beside what it writes.
type Saver struct {
	engine  *Engine // nil when all is written
	now     int64
	labels  []string
	rules   []byte // as the snapshot has them
	waiting []waiting

	tables  [savedTables]savedTable
	table   int // that is being written
	body    pieces
	names   pieces
	count   uint64     // of names
	numbers [][]uint32 // of names that were met, by the names' own, in chunks
}

const savedTables = 4 // sources, users, neighbourhoods, networks

// savedTable is one whose entries are being written.
type savedTable struct {
	head  []byte // what stands before its entries
	write func(b []byte, i uint32) []byte
	notes []note
	next  uint32 // entry
	last  uint32
	early earlyEntries
}

// earlyEntries are the entries of a table that were written before their turn. Nearly
// all may be, and each event asks for some: where one stands is found by its number.
type earlyEntries struct {
	places [][]uint64 // in chunks of chunkSize; 0: not written
	texts  pieces     // each after its length, of four bytes
}

// add has write write entry n, unless it is written already.
func (e *earlyEntries) add(n uint32, write func(b []byte, n uint32) []byte) {
	chunk := &e.places[n>>chunkBits]
	if *chunk == nil {
		*chunk = make([]uint64, chunkSize)
	}
	place := &(*chunk)[n&chunkMask]
	if *place != 0 {
		return
	}
	b := e.texts.room()
	at := len(b)
	b = write(append(b, 0, 0, 0, 0), n)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	e.texts.last = b
	*place = uint64(len(e.texts.full))<<32 | uint64(at+1)
}

// get returns what was written of entry n.
func (e *earlyEntries) get(n uint32) (text []byte, written bool) {
	chunk := e.places[n>>chunkBits]
	if chunk == nil || chunk[n&chunkMask] == 0 {
		return nil, false
	}
	place := chunk[n&chunkMask]
	piece := e.texts.last
	if i := int(place >> 32); i < len(e.texts.full) {
		piece = e.texts.full[i]
	}
	piece = piece[uint32(place)-1:]
	return piece[4:][:binary.LittleEndian.Uint32(piece)], true
}

// snapshotPart is about how long the parts of a snapshot are.
const snapshotPart = 1 << 20

// pieces is a text that grows without being copied.
type pieces struct {
	full [][]byte
	last []byte
}

// room returns where to append to; what comes of it must be assigned to last.
func (p *pieces) room() []byte {
	if len(p.last) >= snapshotPart {
		p.full = append(p.full, p.last)
		p.last = nil
	}
	if p.last == nil {
		p.last = make([]byte, 0, snapshotPart+snapshotPart/8)
	}
	return p.last
}

func (p *pieces) all() [][]byte { return append(p.full, p.last) }

// Save begins to write the state of e as it is now. There can be one Saver of an
// engine at a time: another one that is not done is given up.
func (e *Engine) Save() *Saver {
	if e.saver != nil {
		e.saver.GiveUp()
	}
	s := &Saver{engine: e, now: e.now, labels: e.labels.words[:len(e.labels.words):len(e.labels.words)], waiting: slices.Clone(e.probation.queue[e.probation.head:])}
	s.numbers = make([][]uint32, e.names.slots.made>>chunkBits+1)
	s.rules = binary.AppendUvarint(nil, uint64(len(e.plans)))
	for i := range e.plans {
		id := fingerprint(e.plans[i].rule)
		s.rules = append(append(s.rules, byte(e.plans[i].rule.Per)), id[:]...)
	}
	count := func(n int, hands ...uint32) []byte {
		b := binary.AppendUvarint(nil, uint64(n))
		for _, hand := range hands {
			b = binary.AppendUvarint(b, uint64(hand))
		}
		return b
	}
	nets, networks := &e.nets.nets, &e.site.networks
	s.tables = [savedTables]savedTable{
		{head: count(int(e.sources.len()), e.sources.hand, e.bySource.hand), write: s.source, notes: e.sources.notes.first(e.sources.len()), last: e.sources.len()},
		{head: count(int(e.users.len()), e.users.hand, e.byUser.hand), write: s.user, notes: e.users.notes.first(e.users.len()), last: e.users.len()},
		{head: count(int(nets.len()), nets.hand), write: s.net, notes: nets.notes.first(nets.len()), last: nets.len()},
		{head: append(s.site(), count(networks.len())...), write: s.network, last: uint32(networks.len())},
	}
	for i, keep := range []*func(uint32){&e.sources.keep, &e.users.keep, &nets.keep, &networks.keep} {
		t := &s.tables[i]
		t.next, t.early.places = 1, make([][]uint64, t.last>>chunkBits+1)
		*keep = func(n uint32) {
			if n >= t.next && n <= t.last {
				t.early.add(n, t.write)
			}
		}
	}
	s.body.last = append(s.body.room(), s.tables[0].head...)
	e.saver = s
	return s
}

// GiveUp ends what is not done. It may be called at any time.
func (s *Saver) GiveUp() {
	if e := s.engine; e != nil {
		e.saver, e.sources.keep, e.users.keep, e.nets.nets.keep, e.site.networks.keep = nil, nil, nil, nil, nil
		s.engine = nil
	}
}

// finish writes all that is left.
func (s *Saver) finish() {
	for !s.Step(1 << 20) {
	}
}

// Step writes some n entries more, and reports whether that was all.
func (s *Saver) Step(n int) (done bool) {
	for ; n > 0 && s.engine != nil; n-- {
		t := &s.tables[s.table]
		if t.next <= t.last {
			i := t.next
			b := s.body.room()
			if early, written := t.early.get(i); written {
				s.body.last = append(b, early...)
			} else {
				s.body.last = t.write(b, i)
			}
			t.next++ // only now: writing changes nothing
			continue
		}
		t.early, t.notes = earlyEntries{}, nil
		if s.table++; s.table == len(s.tables) {
			s.GiveUp() // nothing is left
			break
		}
		s.body.last = append(s.body.room(), s.tables[s.table].head...)
	}
	return s.engine == nil
}

// Parts returns what was written, once Step has reported that it is done. One
// after the other they are what UnmarshalBinary reads: those of a million sources
// are 200 MB, and to put them together would take as much once more. It may be
// called where the engine may not.
func (s *Saver) Parts() [][]byte {
	b := s.body.room()
	b = binary.AppendUvarint(b, uint64(len(s.waiting)))
	for _, one := range s.waiting {
		b = s.appendTime(b, one.until)
		b = appendSource(b, one.source)
	}
	s.body.last = b

	head := append([]byte(nil), snapshotMagic...)
	head = binary.AppendUvarint(head, uint64(s.now))
	head = binary.AppendUvarint(head, uint64(len(s.labels)))
	for _, word := range s.labels {
		head = appendText(head, word)
	}
	head = append(head, s.rules...)
	head = binary.AppendUvarint(head, s.count)
	parts := slices.Concat([][]byte{head}, s.names.all(), s.body.all())
	return sealed(parts)
}

// sealed adds the CRC-32C of all before it to a text.
func sealed(parts [][]byte) [][]byte {
	sum, table := uint32(0), crc32.MakeTable(crc32.Castagnoli)
	for _, part := range parts {
		sum = crc32.Update(sum, table, part)
	}
	return append(parts, binary.LittleEndian.AppendUint32(nil, sum))
}
