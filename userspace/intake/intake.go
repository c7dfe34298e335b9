// Package intake delivers what mail servers write, in order: lines of log
// files, entries of the systemd journal, syslog datagrams. It knows where
// records come from and how not to lose or repeat one; it does not know what
// they mean. It imports no other part of weir.
//
// Every [Input] hands batches of records to a sink together with the
// [Position] after them. A caller that stores that Position along with what it
// made of the batch, and gives it back to [Input.Run] after a restart,
// processes each record exactly once. Inputs that cannot be read again (a
// syslog socket) say so by an empty Position, and count what they lose.
package intake

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Kinds of input, as [Stats.Type] and the configuration name them.
const (
	TypeFile    = "file"
	TypeJournal = "journal"
	TypeSyslog  = "syslog"
)

// DefaultMaxLine bounds a line or message, in bytes. A longer one is delivered
// cut to this length and counted in [Stats.Cut].
const DefaultMaxLine = 1 << 20

var (
	// ErrInUse says that another process already serves the syslog socket.
	ErrInUse = errors.New("in use by another process")
	// ErrNoJournalctl says that the journal cannot be read on this host.
	ErrNoJournalctl = errors.New("journalctl not found")
)

// Record is one log line or message. Its byte slice belongs to the input and
// is valid until the sink returns; its strings may be kept.
type Record struct {
	Line    []byte    // file: the line without its newline; journal, syslog: the message alone
	Time    time.Time // journal, syslog: the record's own time; file: zero, the line carries it
	Host    string    // syslog: the host that the message names, else who sent it; journal of a folder: its host; empty where all are of one host
	Program string    // journal, syslog: identifier such as "postfix/smtpd"; file: empty
	Unit    string    // journal: the systemd unit, vouched for by journald; else empty
	PID     int       // journal, syslog: process id, 0 when unknown
	Number  uint64    // count in this input, from 1
}

// Position says how far an input was read. The zero Position means "never
// read". It is stored as JSON.
type Position struct {
	Path   string    `json:"path,omitempty"`   // file: the name it was read under
	Device uint64    `json:"device,omitempty"` // file: st_dev
	Inode  uint64    `json:"inode,omitempty"`  // file: st_ino
	Offset int64     `json:"offset,omitempty"` // file: bytes delivered, always at the start of a line
	Head   Head      `json:"head,omitzero"`    // file: recognises it when inodes cannot
	Time   time.Time `json:"time,omitzero"`    // file: when it was read; younger files are unread
	Cursor string    `json:"cursor,omitempty"` // journal: __CURSOR of the last entry
	Lines  uint64    `json:"lines,omitempty"`  // records delivered; the next has this number plus one
}

// Head is the fingerprint of a file: a hash of its first bytes. Log files are
// only appended to, so it stays true while the file grows, and follows it
// through renaming, copying and compression.
type Head struct {
	Length int    `json:"length"` // bytes hashed, at most 1024
	Sum    string `json:"sum"`    // the first half of their SHA-256, in hexadecimal
}

// Sink receives a batch of records and the position after it. The batch may be
// empty when only the position is news, as when an input is followed for the
// first time. An error stops the input; Run returns it.
type Sink = func(batch []Record, after Position) error

// Input is something that delivers records.
type Input interface {
	// Name is unique among inputs of one host and stable over restarts, so
	// that positions can be stored under it.
	Name() string
	// Run delivers everything after from, and then what comes, until ctx
	// ends, which is no error. It calls sink from one goroutine. It returns
	// an error only if the input can never work or the sink failed; troubles
	// that may pass are told by Stats and the logger. It may be called again
	// after it returned, not while it runs.
	Run(ctx context.Context, from Position, sink Sink) error
	// Stats may be called at any time.
	Stats() Stats
}

// States of an input, in [Stats.State].
const (
	StateStopped    = "stopped"          // Run does not run
	StateFollowing  = "following"        // everything written so far was read
	StateCatchingUp = "catching up"      // reading what was written before
	StateWaiting    = "waiting for file" // nothing to read from yet
	StateRestarting = "restarting"       // the child died and will be started again
)

// Stats is the health of an input since it was made.
type Stats struct {
	Name  string
	Type  string
	State string

	Lines       uint64        // records delivered
	Bytes       uint64        // bytes of them, newlines included
	Cut         uint64        // records delivered with their end missing, being too long
	Lost        uint64        // records lost; 1 for each occasion whose extent cannot be known
	Losses      []Loss        // the same, by reason
	Ignored     uint64        // journal: entries that a user's session or another host wrote
	Refused     uint64        // syslog: messages or connections of senders that may not send
	Truncations uint64        // file: times it was truncated; what came between a copy and that is in no file
	Behind      int64         // file: bytes written and not yet read
	Lag         time.Duration // between the last write and its reading, best known
	Last        time.Time     // when the last record was delivered
	Error       string        // what is wrong now, empty when all is well
}

// Loss counts records that were lost for one reason.
type Loss struct {
	Reason string
	Count  uint64
	Last   time.Time
}

// meter keeps Stats. It is shared between the input's goroutines and readers.
type meter struct {
	mu      sync.Mutex
	s       Stats
	log     *slog.Logger
	refusal time.Time // when the last was logged
}

func newMeter(name, kind string, log *slog.Logger) *meter {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &meter{
		s:   Stats{Name: name, Type: kind, State: StateStopped},
		log: log.With("input", name),
	}
}

func (m *meter) stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.s
	s.Losses = slices.Clone(s.Losses)
	return s
}

func (m *meter) delivered(lines int, bytes uint64, at time.Time) {
	m.mu.Lock()
	m.s.Lines += uint64(lines)
	m.s.Bytes += bytes
	m.s.Last = at
	m.mu.Unlock()
}

func (m *meter) cut() {
	m.mu.Lock()
	m.s.Cut++
	m.mu.Unlock()
}

func (m *meter) truncated() {
	m.mu.Lock()
	m.s.Truncations++
	m.mu.Unlock()
}

func (m *meter) ignored() {
	m.mu.Lock()
	m.s.Ignored++
	m.mu.Unlock()
}

// refused counts what somebody sent who may not, and logs all but floods of it.
func (m *meter) refused(sender netip.Addr, at time.Time) {
	m.mu.Lock()
	m.s.Refused++
	total := m.s.Refused
	quiet := at.Sub(m.refusal) < time.Minute
	if !quiet {
		m.refusal = at
	}
	m.mu.Unlock()
	if !quiet {
		m.log.Warn("refused what somebody sent who may not; add it to from if it is to be read", "sender", sender, "total", total)
	}
}

func (m *meter) lag(d time.Duration, behind int64) {
	m.mu.Lock()
	m.s.Lag, m.s.Behind = max(d, 0), max(behind, 0)
	m.mu.Unlock()
}

func (m *meter) state(state string) {
	m.mu.Lock()
	m.s.State = state
	m.mu.Unlock()
}

// lost counts n records under reason, and logs all but floods of them.
func (m *meter) lost(reason string, n uint64, at time.Time) {
	m.mu.Lock()
	m.s.Lost += n
	i := slices.IndexFunc(m.s.Losses, func(l Loss) bool { return l.Reason == reason })
	if i < 0 {
		m.s.Losses = append(m.s.Losses, Loss{Reason: reason})
		i = len(m.s.Losses) - 1
	}
	l := &m.s.Losses[i]
	quiet := l.Count > 0 && at.Sub(l.Last) < time.Second
	l.Count += n
	l.Last = at
	total := l.Count
	m.mu.Unlock()
	if !quiet {
		m.log.Warn("records lost", "reason", reason, "count", n, "total", total)
	}
}

// trouble sets or, with nil, clears the present error; a new one is logged.
func (m *meter) trouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	m.mu.Lock()
	old := m.s.Error
	m.s.Error = text
	m.mu.Unlock()
	switch {
	case text == old:
	case text == "":
		m.log.Info("input works again", "was", old)
	default:
		m.log.Warn("input in trouble", "error", text)
	}
}
