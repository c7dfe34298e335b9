package maillog

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"net/netip"
)

// ErrState says that saved state was written by another version, or is
// damaged.
var ErrState = errors.New("state of the log parser cannot be read")

// stateVersion stands before the state; it changes with the meaning of any
// part of it.
const stateVersion = "weir maillog 7\n"

// state is what must survive a restart, so that joined lines whose halves lie
// on either side of it are neither lost nor told twice.
type state struct {
	Day           [6]byte
	Noon          int64
	Year          int
	ExtraElements bool
	Queue         tableState[queued]
	Sessions      tableState[session]
	Several       tableState[bool]
	Relayed       []relay
	Exim          eximSaved
	Judged        tableState[bool]
	Heads         tableState[amavisHead]
	Pending       tableState[sendmailEnvelope]
	Web           webSaved
	SASL          tableState[saslNote]
	Courier       courierSaved
	Notes         []noteState
	NoteCount     uint64
	Horizon       int64
}

type tableState[V any] struct {
	Next  uint32 // as in table
	Slots int
	Used  []slotState[V]
}

// slotState is a used slot with its place.
type slotState[V any] struct {
	At    int
	Key   uint64
	Value V
}

// noteState is a note with its number and its party.
type noteState struct {
	Number  uint64
	Addr    netip.Addr
	Backend bool
	Note    note
}

// MarshalBinary returns the state that joins lines and removes repetitions.
// Its size is bounded. The counts of Stats are not part of it.
func (p *Parser) MarshalBinary() ([]byte, error) {
	s := state{
		Day: p.clock.day, Noon: p.clock.noon, Year: p.clock.year,
		ExtraElements: p.extraElements,
		Queue:         p.queue.state(),
		Sessions:      p.sessions.state(),
		Several:       p.several.state(),
		Relayed:       p.relayed.save(),
		Exim:          p.eximLog.save(),
		Judged:        p.judged.state(),
		Heads:         p.heads.state(),
		Pending:       p.pending.state(),
		Web:           p.web.save(),
		SASL:          p.sasl.state(),
		Courier:       p.courier.save(),
		Notes:         p.told.state(), NoteCount: p.told.count, Horizon: p.told.horizon,
	}
	var b bytes.Buffer
	b.WriteString(stateVersion)
	if err := gob.NewEncoder(&b).Encode(&s); err != nil {
		return nil, fmt.Errorf("save state of the log parser: %w", err)
	}
	return b.Bytes(), nil
}

// UnmarshalBinary takes up saved state. On an error p is as it was.
func (p *Parser) UnmarshalBinary(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(stateVersion))
	if !ok {
		return fmt.Errorf("%w: unknown version", ErrState)
	}
	var s state
	if err := gob.NewDecoder(bytes.NewReader(rest)).Decode(&s); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	queue, ok1 := s.Queue.table(maxQueued)
	sessions, ok2 := s.Sessions.table(maxSessions)
	several, ok3 := s.Several.table(maxHosts)
	told, ok4 := s.ledger(maxTold)
	exim, ok5 := s.Exim.restore()
	judged, ok6 := s.Judged.table(maxJudged)
	heads, ok7 := s.Heads.table(maxHeads)
	pending, ok8 := s.Pending.table(maxEnvelopes)
	web, ok9 := s.Web.restore()
	relayed, ok10 := restoreRelays(s.Relayed)
	sasl, ok11 := s.SASL.table(maxHosts)
	courier, ok12 := s.Courier.restore()
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || !ok8 || !ok9 || !ok10 || !ok11 || !ok12 {
		return fmt.Errorf("%w: its parts do not fit together", ErrState)
	}
	p.clock.day, p.clock.noon, p.clock.year = s.Day, s.Noon, s.Year
	p.extraElements = s.ExtraElements
	p.queue, p.sessions, p.several, p.told, p.eximLog = queue, sessions, several, told, exim
	p.judged, p.heads, p.pending = judged, heads, pending
	p.web, p.relayed, p.sasl, p.courier = web, relayed, sasl, courier
	return nil
}

func (t *table[V]) state() tableState[V] {
	s := tableState[V]{Next: t.next, Slots: len(t.slots)}
	for i := range t.slots {
		if slot := &t.slots[i]; slot.used {
			s.Used = append(s.Used, slotState[V]{i, slot.key, slot.value})
		}
	}
	return s
}

// table builds the table that was saved.
func (s *tableState[V]) table(size int) (table[V], bool) {
	t := newTable[V](size)
	if s.Slots < 0 || s.Slots > size || s.Next > 0 && int(s.Next) >= s.Slots {
		return t, false
	}
	t.slots, t.next = make([]slot[V], s.Slots), s.Next
	for _, u := range s.Used {
		if u.At < 0 || u.At >= s.Slots || t.slots[u.At].used || t.get(u.Key) != nil {
			return t, false
		}
		t.slots[u.At] = slot[V]{true, u.Key, u.Value}
		t.index[u.Key] = uint32(u.At)
	}
	return t, true
}

// state returns the notes that can still be matched.
func (l *ledger) state() (notes []noteState) {
	first := l.count - uint64(len(l.notes)) + 1
	for number := first; number <= l.count; number++ {
		if n := l.live(number); n != nil {
			notes = append(notes, noteState{number, n.party.addr, n.party.backend, *n})
		}
	}
	return notes
}

// ledger builds the ledger that was saved. Notes that were not worth saving
// become empty ones, which are older than any.
func (s *state) ledger(size uint64) (ledger, bool) {
	l := newLedger(size)
	l.count, l.horizon = s.NoteCount, s.Horizon
	l.notes = make([]note, min(s.NoteCount, size))
	last := uint64(0)
	for _, n := range s.Notes {
		if n.Number <= last || n.Note.Earlier >= n.Number || l.at(n.Number) == nil || n.Number > l.count {
			return l, false
		}
		last = n.Number
		n.Note.party = party{n.Addr, n.Backend}
		*l.at(n.Number) = n.Note
		l.newest[n.Note.party] = n.Number
	}
	return l, true
}
