package enforce

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weir/loader"
	"weir/policy"
)

// Table is the kernel's verdict table as loader.Datapath offers it.
type Table interface {
	Put(...loader.Entry) error
	Delete(...netip.Prefix) error
	Entries() iter.Seq2[loader.Entry, error]
	Empty() bool
	Compare(pieces iter.Seq[[]loader.Entry], answer func([]loader.Entry)) (rest iter.Seq2[loader.Entry, error], err error)
}

// Options are what an Enforcer works on.
type Options struct {
	Table   Table
	Destroy func(prefixes []netip.Prefix, ports []uint16) (int, error) // as loader.DestroySockets
	Ports   []uint16                                                   // protected
	Queue   int                                                        // prefixes that may wait for their sessions to be closed
	End     time.Time                                                  // that no entry but an allow outlasts; zero: none
	Logger  *slog.Logger
}

// DefaultOptions closes sessions in the network namespace of the process.
func DefaultOptions() Options {
	return Options{Destroy: loader.DestroySockets, Queue: 1 << 20, Logger: slog.Default()}
}

// Validate reports what is missing in o.
func (o Options) Validate() error {
	switch {
	case o.Table == nil:
		return errors.New("enforce: no table")
	case o.Destroy == nil:
		return errors.New("enforce: no way to close sessions")
	case o.Queue < 1:
		return fmt.Errorf("enforce: queue of %d prefixes: at least 1", o.Queue)
	case o.Logger == nil:
		return errors.New("enforce: no logger")
	}
	return nil
}

// Enforcer keeps a table in line with the ledger. Apply and Reconcile must
// not be called at the same time as each other; everything else may be
// called at any time. The nil Enforcer enforces nothing, as mode observe asks.
type Enforcer struct {
	o      Options
	spared map[netip.Prefix]bool // in force, and something of it passes
	wake   chan struct{}

	mu      sync.Mutex
	ports   []uint16
	waiting []netip.Prefix // their sessions are to be closed
	stats   Stats          // but for Waiting
}

// Stats is what the Enforcer has done since it was made.
type Stats struct {
	Closed  uint64 // sessions closed
	Skipped uint64 // prefixes whose sessions were left alone because too many waited
	Waiting int    // prefixes that wait now
	Error   string // why closing failed last time; empty if it did not
}

// New returns an Enforcer that has done nothing yet.
func New(o Options) (*Enforcer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Enforcer{
		o:      o,
		spared: make(map[netip.Prefix]bool),
		wake:   make(chan struct{}, 1),
		ports:  slices.Clone(o.Ports),
	}, nil
}

// SetPorts says on which ports sessions are closed from now on.
func (e *Enforcer) SetPorts(ports []uint16) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports = slices.Clone(ports)
}

// SetEnd changes Options.End; Reconcile makes it take effect. It must not be
// called at the same time as Apply, Reconcile and ReadBack.
func (e *Enforcer) SetEnd(end time.Time) { e.o.End = end }

// End is Options.End as it was last set. SetEnd must not be called meanwhile.
func (e *Enforcer) End() time.Time { return e.o.End }

// Stats may be called at any time.
func (e *Enforcer) Stats() Stats {
	if e == nil {
		return Stats{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	stats := e.stats
	stats.Waiting = len(e.waiting)
	return stats
}

// Apply makes changes take effect, what is new before what is gone; of several
// for one prefix the last counts. After an error the table lacks some of
// them; Reconcile finds out which.
func (e *Enforcer) Apply(changes []policy.Change) error {
	if e == nil || len(changes) == 0 {
		return nil
	}
	var errs []error
	var put []loader.Entry
	var gone []netip.Prefix
	for _, c := range last(changes) {
		if c.Decision == nil {
			delete(e.spared, c.Prefix)
			gone = append(gone, c.Prefix)
			continue
		}
		entry, err := e.entry(c.Decision)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		put = append(put, entry)
	}
	errs = append(errs, e.put(put))
	if len(gone) > 0 {
		errs = append(errs, wrap("delete from the verdict table", e.o.Table.Delete(gone...)))
	}
	return errors.Join(errs...)
}

// last returns the changes that are not overtaken by a later one.
func last(changes []policy.Change) []policy.Change {
	if len(changes) == 1 {
		return changes
	}
	seen := make(map[netip.Prefix]bool, len(changes))
	var kept []policy.Change
	for _, c := range slices.Backward(changes) {
		if !seen[c.Prefix] {
			seen[c.Prefix] = true
			kept = append(kept, c)
		}
	}
	slices.Reverse(kept)
	return kept
}

// entry is entryOf with its side effect: what is spared is known.
func (e *Enforcer) entry(d *policy.Decision) (loader.Entry, error) {
	entry, err := entryOf(d, e.o.End)
	if err == nil {
		e.spare(&entry)
	}
	return entry, err
}

func (e *Enforcer) spare(entry *loader.Entry) {
	if entry.Action.Blocks() {
		delete(e.spared, entry.Prefix)
	} else {
		e.spared[entry.Prefix] = true
	}
}

// put writes entries and has the sessions of those that block closed.
func (e *Enforcer) put(entries []loader.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	err := e.o.Table.Put(entries...)
	e.closeSessions(entries)
	return wrap("write to the verdict table", err)
}

func wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", verb, err)
}
