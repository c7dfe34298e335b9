package maillog

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"net/netip"

	"weir/policy"
)

// ErrState says that saved state was written by another version, or is
// damaged.
var ErrState = errors.New("state of the log parser cannot be read")

// stateVersion stands before the state; it changes with the meaning of any
// part of it.
const stateVersion = "weir maillog 1\n"

// state is what must survive a restart, so that joined lines whose halves lie
// on either side of it are neither lost nor told twice.
type state struct {
	Day           [6]byte
	Noon          int64
	Year          int
	ExtraElements bool
	Queue         tableState[queued]
	Sessions      tableState[session]
	Notes         []note
	Parties       []partyState // of the notes
	NoteCount     uint64
}

type tableState[V any] struct {
	Next  uint32
	Slots []slot[V]
}

// partyState is a party whose source is written as an address.
type partyState struct {
	Addr    netip.Addr
	Backend bool
}

// MarshalBinary returns the state that joins lines and removes repetitions.
// Its size is bounded. The counts of Stats are not part of it.
func (p *Parser) MarshalBinary() ([]byte, error) {
	s := state{
		Day: p.clock.day, Noon: p.clock.noon, Year: p.clock.year,
		ExtraElements: p.extraElements,
		Queue:         tableState[queued]{p.queue.next, p.queue.slots},
		Sessions:      tableState[session]{p.sessions.next, p.sessions.slots},
		Notes:         p.told.notes, NoteCount: p.told.count,
	}
	for _, n := range s.Notes {
		s.Parties = append(s.Parties, partyState{n.party.source.Prefix().Addr(), n.party.backend})
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
	told, ok3 := s.ledger(maxTold)
	if !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("%w: its parts do not fit together", ErrState)
	}
	p.clock.day, p.clock.noon, p.clock.year = s.Day, s.Noon, s.Year
	p.extraElements = s.ExtraElements
	p.queue, p.sessions, p.told = queue, sessions, told
	return nil
}

// table builds the table that was saved.
func (s tableState[V]) table(size int) (table[V], bool) {
	t := newTable[V](size)
	if len(s.Slots) > size || s.Next > 0 && int(s.Next) >= len(s.Slots) {
		return t, false
	}
	t.slots, t.next = s.Slots, s.Next
	for i, slot := range s.Slots {
		if slot.Used {
			t.index[slot.Key] = uint32(i)
		}
	}
	return t, true
}

// ledger builds the ledger that was saved.
func (s *state) ledger(size uint64) (ledger, bool) {
	l := newLedger(size)
	held := uint64(len(s.Notes))
	if held > size || len(s.Parties) != len(s.Notes) || s.NoteCount < held || held < size && s.NoteCount != held {
		return l, false
	}
	l.notes, l.count = s.Notes, s.NoteCount
	for number := s.NoteCount - held + 1; number <= s.NoteCount; number++ {
		at := (number - 1) % size
		n := &l.notes[at]
		if n.Earlier >= number {
			return l, false
		}
		n.party = party{policy.SourceOf(s.Parties[at].Addr), s.Parties[at].Backend}
		l.newest[n.party] = number
	}
	return l, true
}
