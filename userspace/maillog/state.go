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
const stateVersion = "weir maillog 9\n"

// state is what must survive a restart, so that joined lines whose halves lie
// on either side of it are neither lost nor told twice: parts of a parser.
type state struct {
	Day           *[6]byte
	Noon          *int64
	Year          *int
	ExtraElements *bool
	Queue         *table[queued]
	Sessions      *table[session]
	Several       *table[bool]
	Relayed       *relays
	Exim          *eximState
	Judged        *table[bool]
	Heads         *table[amavisHead]
	Pending       *table[sendmailEnvelope]
	Web           *webState
	SASL          *table[saslNote]
	Courier       *courierState
	Requested     *table[request]
	Notes         []noteState
	NoteCount     uint64
	Horizon       int64
}

func (p *Parser) state() state {
	return state{
		Day: &p.clock.day, Noon: &p.clock.noon, Year: &p.clock.year,
		ExtraElements: &p.extraElements,
		Queue:         &p.queue,
		Sessions:      &p.sessions,
		Several:       &p.several,
		Relayed:       &p.relayed,
		Exim:          &p.eximLog,
		Judged:        &p.judged,
		Heads:         &p.heads,
		Pending:       &p.pending,
		Web:           &p.web,
		SASL:          &p.sasl,
		Courier:       &p.courier,
		Requested:     &p.requested,
		Notes:         p.told.state(), NoteCount: p.told.count, Horizon: p.told.horizon,
	}
}

// saver is what is saved in another shape than it is used in: save makes that
// shape, restore reads it and reports whether it can be right, forget drops it.
type saver interface {
	save()
	restore() bool
	forget()
}

// savers are all of a parser's. A new table must be added here.
func (p *Parser) savers() []saver {
	exim, courier, web := &p.eximLog, &p.courier, &p.web
	return []saver{
		&p.queue, &p.sessions, &p.several, &p.relayed, &p.judged, &p.heads, &p.pending, &p.sasl, &p.requested,
		&exim.Deliveries.Mail, &exim.Deliveries.Recipients, &exim.Copies,
		&courier.Torn, &courier.Trouble, &courier.Deliveries.Mail, &courier.Deliveries.Recipients,
		&web.Roundcube, &web.Sessions, &web.SOGo, &web.Stalwart,
	}
}

type savedTable[V any] struct {
	Next  uint32 // as in table
	Slots int
	Used  []savedSlot[V]
}

// savedSlot is a used slot with its place.
type savedSlot[V any] struct {
	At    int
	Key   uint64
	Value V
}

func (t *table[V]) save() {
	t.Saved = &savedTable[V]{Next: t.next, Slots: len(t.slots), Used: make([]savedSlot[V], 0, len(t.index))}
	for i := range t.slots {
		if slot := &t.slots[i]; slot.used {
			t.Saved.Used = append(t.Saved.Used, savedSlot[V]{i, slot.key, slot.value})
		}
	}
}

func (t *table[V]) forget() { t.Saved = nil }

func (t *table[V]) restore() bool {
	s := t.Saved
	if s == nil {
		return true
	}
	if s.Slots < 0 || s.Slots > t.size || s.Next > 0 && int(s.Next) >= s.Slots {
		return false
	}
	t.slots, t.next = make([]slot[V], s.Slots), s.Next
	for _, u := range s.Used {
		if u.At < 0 || u.At >= s.Slots || t.slots[u.At].used || t.get(u.Key) != nil {
			return false
		}
		t.slots[u.At] = slot[V]{true, u.Key, u.Value}
		t.index[u.Key] = uint32(u.At)
	}
	return true
}

// noteState is a note with its number and its party.
type noteState struct {
	Number  uint64
	Addr    netip.Addr
	Backend bool
	Note    note
}

// Saved is the state that joins lines and removes repetitions, as it was at a
// moment. Its size is bounded. The counts of Stats are not part of it.
type Saved struct{ state state }

// Save copies p's state, which takes less time than writing it.
func (p *Parser) Save() *Saved {
	for _, s := range p.savers() {
		s.save()
		defer s.forget()
	}
	then := *p // of whose tables only what was copied is written
	then.eximLog.Parts.Text = bytes.Clone(then.eximLog.Parts.Text)
	return &Saved{then.state()}
}

// MarshalBinary writes s for Parser.UnmarshalBinary. Any goroutine may do it.
func (s *Saved) MarshalBinary() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(stateVersion)
	if err := gob.NewEncoder(&b).Encode(s.state); err != nil {
		return nil, fmt.Errorf("save state of the log parser: %w", err)
	}
	return b.Bytes(), nil
}

// MarshalBinary writes p's state.
func (p *Parser) MarshalBinary() ([]byte, error) { return p.Save().MarshalBinary() }

// UnmarshalBinary takes up saved state. On an error p is as it was.
func (p *Parser) UnmarshalBinary(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(stateVersion))
	if !ok {
		return fmt.Errorf("%w: unknown version", ErrState)
	}
	next := newParser()
	s := next.state()
	if err := gob.NewDecoder(bytes.NewReader(rest)).Decode(&s); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	next.told, ok = s.ledger(maxTold)
	for _, part := range next.savers() {
		ok = ok && part.restore()
		part.forget()
	}
	if !ok || next.eximLog.HELO > heloJunk || len(next.eximLog.Parts.Text) > maxEximText {
		return fmt.Errorf("%w: its parts do not fit together", ErrState)
	}
	next.clock.location, next.clock.reference = p.clock.location, p.clock.reference
	next.scanner, next.users, next.counts, next.asked = p.scanner, p.users, p.counts, p.asked
	*p = *next
	return nil
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
		if n.Number <= last || n.Number > l.count || n.Note.Earlier >= n.Number || l.at(n.Number) == nil {
			return l, false
		}
		last = n.Number
		n.Note.party = party{n.Addr, n.Backend}
		*l.at(n.Number) = n.Note
		l.newest[n.Note.party] = n.Number
	}
	return l, true
}
