package scenarios

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/policy"
	"weir/tests/mixlog"
)

// Kind is what an item is.
type Kind uint8

const (
	Opening    Kind = iota + 1 // a session begins; it is no item, and counts for nothing
	Try                        // a login that is refused for its credentials
	Login                      // one that succeeds, and no message follows in the session
	Message                    // a message, with the login before it
	Recipient                  // a recipient that does not exist
	Connection                 // a session in which nothing of the above happens
)

var kindNames = [...]string{Opening: "opening", Try: "try", Login: "login", Message: "message", Recipient: "recipient", Connection: "connection"}

func (k Kind) String() string { return kindNames[k] }

// MarshalText writes the name of k.
func (k Kind) MarshalText() ([]byte, error) { return []byte(kindNames[k]), nil }

// UnmarshalText reads a name as MarshalText writes it.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name != "" && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown kind of item %q", text)
}

// Item is the unit that is counted: something that a client wants, and that
// can be refused. Its time is that of the first line which tells of it.
type Item struct {
	Time    time.Time  `json:"time"`
	Kind    Kind       `json:"item"`
	Session uint32     `json:"session"`
	Source  netip.Addr `json:"source"`
	User    string     `json:"user,omitempty"` // in lower case
	Line    uint64     `json:"line"`
	Party   uint8      `json:"-"`
	Number  uint16     `json:"-"` // in the session, as mixlog.Origin numbers it
}

// Player writes the log of a scenario, line by line, and says what each line
// tells of.
type Player struct {
	scenario *Scenario
	log      *mixlog.Generator
	seen     []uint64 // of each session: a bit for each item that has been told of
	// New are the items, openings included, that the line is the first to tell
	// of, in their order.
	New []Item
}

// maxItems is how many items a session can have; the first bit is its opening's.
const maxItems = 63

// bit is that of an item in a session.
func (i *Item) bit() uint64 {
	if i.Kind == Opening {
		return 1
	}
	return 2 << i.Number
}

// Play returns a player at the beginning of the log. Close it if it is not
// read to its end.
func (s *Scenario) Play() (*Player, error) {
	g, err := s.generator()
	if err != nil {
		return nil, err
	}
	return &Player{scenario: s, log: g, seen: make([]uint64, len(s.site.visits))}, nil
}

// Close lets go of the log.
func (p *Player) Close() { p.log.Close() }

// Next goes on to the next line and reports whether there is one.
func (p *Player) Next() bool {
	p.New = p.New[:0]
	if !p.log.Next() {
		return false
	}
	r := p.log.Record()
	for i, o := range r.Origins {
		if r.Events[i].Source.IsLoopback() { // a content filter hands a message back
			continue
		}
		v := &p.scenario.site.visits[o.Visit]
		seen := &p.seen[o.Visit]
		item := Item{Time: r.Time, Session: o.Visit, Source: v.Client, Line: r.Number, Party: v.party, Number: o.Item}
		if *seen == 0 {
			*seen, item.Kind = 1, Opening
			p.New = append(p.New, item)
		}
		if *seen&(2<<o.Item) != 0 {
			continue
		}
		if item.Kind, item.User = whatIs(&v.Visit, int(o.Item)); item.Kind == Connection || r.Events[i].Kind != policy.Connection {
			*seen |= item.bit()
			p.New = append(p.New, item)
		}
	}
	return true
}

// whatIs tells what item number i of a visit is, and about whom. See
// mixlog.Origin.
func whatIs(v *mixlog.Visit, i int) (k Kind, user string) {
	if i < len(v.Failed) {
		return Try, strings.ToLower(v.Failed[i])
	}
	i -= len(v.Failed)
	switch {
	case i < len(v.Mails):
		return Message, strings.ToLower(v.User)
	case i == 0 && v.User != "":
		return Login, strings.ToLower(v.User)
	case v.Unknown > 0:
		return Recipient, ""
	}
	return Connection, ""
}

// items is how many items a visit has.
func items(v *mixlog.Visit) int {
	n := len(v.Failed) + len(v.Mails) + v.Unknown
	if v.User != "" && len(v.Mails) == 0 {
		n++
	}
	return max(n, 1)
}

// Record returns the line that Next went on to.
func (p *Player) Record() *mixlog.Record { return p.log.Record() }

// Origins tells from which session, and for which of its items, the events of
// the line are: parallel to Record().Events.
func (p *Player) Origins() []mixlog.Origin { return p.log.Record().Origins }
