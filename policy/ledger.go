package policy

import (
	"iter"
	"net/netip"
	"time"
)

// Ledger knows every decision, pin and allowed prefix, and what follows from
// them for each prefix. The zero Ledger is not usable; see NewLedger.
type Ledger struct{}

// Change is a difference in what is in force. Decision is nil where nothing
// is any more.
type Change struct {
	Prefix   netip.Prefix
	Decision *Decision
}

// Concern is one decision that covers a looked-up prefix.
type Concern struct {
	Decision *Decision
	Wins     bool   // this one decides about the prefix
	Why      string // why it wins or does not, in plain words
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{} }

// SetAllow replaces the configured allow list.
func (l *Ledger) SetAllow(prefixes []netip.Prefix) []Change { return nil }

// Put enters decisions and pins.
func (l *Ledger) Put(now time.Time, decisions ...Decision) []Change { return nil }

// Remove takes away the pin, the automatic decision or both of target.
func (l *Ledger) Remove(target Target, pins, automatic bool) (removed []Decision, changes []Change) {
	return nil, nil
}

// Expire takes away what has ended at now, in the order of ending.
func (l *Ledger) Expire(now time.Time) (ended []Decision, changes []Change) { return nil, nil }

// InForce yields what enforcement must hold, sorted by prefix.
func (l *Ledger) InForce() iter.Seq[*Decision] { return func(func(*Decision) bool) {} }

// All yields every decision and pin, prefixes first, then users, each sorted.
func (l *Ledger) All() iter.Seq[*Decision] { return func(func(*Decision) bool) {} }

// Get returns the pin and the automatic decision of exactly this target.
func (l *Ledger) Get(target Target) (pin, automatic *Decision) { return nil, nil }

// Lookup returns everything that concerns addr, longest prefix first.
func (l *Ledger) Lookup(addr netip.Addr) []Concern { return nil }

// LookupPrefix returns everything that covers p, longest prefix first.
func (l *Ledger) LookupPrefix(p netip.Prefix) []Concern { return nil }
