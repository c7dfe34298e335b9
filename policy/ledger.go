package policy

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
)

// Ledger knows every decision, pin and allowed prefix, and what follows from
// them for each prefix. It is not safe for concurrent use. The zero Ledger is
// not usable; see NewLedger.
//
// Targets are kept in judged form (JudgedPrefix): an allowed single IPv6
// address allows its /64.
//
// # What is in force
//
//  1. Allow always wins. An allow, configured or pinned, silences every other
//     decision on its prefix and on all prefixes inside it, whatever their
//     lengths. It is in force itself.
//  2. A pin silences the automatic decision on the same prefix. It also
//     silences automatic decisions on prefixes inside its own that are milder
//     than the longest pin around them (limit < tarpit < drop, and any limit
//     inside a limit): what the operator laid down is never softened by a
//     rule, and limiting a net does not shelter who attacks from it. Those as
//     harsh stay in force beside the pin, so that they go on when it ends,
//     even with nobody there to put them back.
//  3. What an operator's list lays down comes after pins: on the same prefix a
//     pin silences it. Beside a rule's decision there the harsher of the two is
//     in force, and inside its prefix it silences as a pin does.
//  4. Everything else is in force, and of what is in force the longest prefix
//     that covers an address decides about it.
//
// Hence a kernel that looks a source up exactly, and then by the longest
// matching prefix, in what InForce yields, does what is meant.
//
// Decisions on users are kept and expire with the others; nothing of the
// above is about them.
type Ledger struct {
	entries bart.Table[*entry]
	users   map[string]*entry
	allowed []netip.Prefix // by the configuration
	expiry  expiryHeap
	tally   Tally
	touched []touch // of the call at hand
	spare   []entry // for those that are new in it
}

// entry is what is known of one target. There may be a million: what it is
// about is not repeated in it.
type entry struct {
	pin        *Decision
	automatic  *Decision
	listed     *Decision // by a list of the operator's
	configured *Decision // the configuration's allow list names the prefix
	inForce    *Decision
	touched    bool // its standing may have changed in the call at hand
}

// touch is an entry as it was before the call at hand.
type touch struct {
	prefix netip.Prefix
	entry  *entry
	before *Decision // in force
}

// Change is a difference in what is in force. Decision is nil where nothing
// is any more. Whoever holds one must not change what it points at.
type Change struct {
	Prefix   netip.Prefix
	Decision *Decision
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{users: make(map[string]*entry)} }

// ConfiguredReason is the reason of an allow that the configuration made.
const ConfiguredReason = "allowed by the configuration"

// Allowed is a prefix that is allowed without being in the configuration's
// list, and why.
type Allowed struct {
	Prefix netip.Prefix
	Reason string
}

// SetAllow replaces the configured allow list, and what is allowed besides. Like every method that
// returns changes it names each prefix at most once, and only if what
// enforcement sees of it (action, rate, end) is different.
func (l *Ledger) SetAllow(prefixes []netip.Prefix, besides ...Allowed) []Change {
	before := l.allowed
	for _, p := range before {
		l.find(Target{Prefix: p}).configured = nil
	}
	l.allowed = nil
	for _, p := range prefixes {
		l.allow(p, ConfiguredReason)
	}
	for _, a := range besides {
		l.allow(a.Prefix, a.Reason)
	}
	for _, p := range slices.Concat(before, l.allowed) {
		l.settleWithin(p)
	}
	return l.changes()
}

// allow adds to the allow list what is not on it.
func (l *Ledger) allow(p netip.Prefix, reason string) {
	if p = JudgedPrefix(p); !p.IsValid() {
		return
	}
	t := Target{Prefix: p}
	if e := l.entry(t); e.configured == nil {
		e.configured = &Decision{Target: t, Action: Allow, Reason: reason}
		l.allowed = append(l.allowed, p)
	}
}

// Put enters decisions and pins. One on the same target and of the same kind
// (pin or automatic) as an earlier one replaces it. A decision that has ended
// at now, or whose target is not valid, is left out; one to release takes the
// automatic decision away. A million at once are fine; what is put at once is
// held in one piece of memory until all of it is gone.
func (l *Ledger) Put(now time.Time, decisions ...Decision) []Change {
	l.put(now, slices.Clone(decisions))
	return l.changes()
}

// Enter is Put for decisions that become the ledger's, uncopied, and of whose
// changes nobody needs to know.
func (l *Ledger) Enter(now time.Time, decisions []Decision) {
	l.put(now, decisions)
	l.forget()
}

// Expect makes room for so many more decisions.
func (l *Ledger) Expect(n int) { l.expiry.expect(n) }

// put enters decisions, which the ledger keeps.
func (l *Ledger) put(now time.Time, kept []Decision) {
	l.spare = make([]entry, len(kept))
	for i := range kept {
		d := &kept[i]
		if d.User == "" {
			if d.Prefix = JudgedPrefix(d.Prefix); !d.Prefix.IsValid() {
				continue
			}
		}
		if d.Action == Release {
			l.remove(d.Target, d.Pinned, !d.Pinned)
			continue
		}
		if d.Ended(now) {
			continue
		}
		e := l.entry(d.Target)
		place := e.place(d.Pinned)
		if *place != nil {
			l.outdated(1)
		}
		l.stand(place, d)
		l.expiry.push(d)
		l.settleFor(d.Target, e, d.Pinned)
	}
}

// Remove takes away the pin, the automatic decision or both of target, and
// returns what it took.
func (l *Ledger) Remove(target Target, pins, automatic bool) (removed []Decision, changes []Change) {
	target.Prefix = JudgedPrefix(target.Prefix)
	removed = l.remove(target, pins, automatic)
	return removed, l.changes()
}

func (l *Ledger) remove(target Target, pins, automatic bool) (removed []Decision) {
	e := l.find(target)
	if e == nil {
		return nil
	}
	for _, pinned := range []bool{true, false} {
		if place := e.place(pinned); *place != nil && (pinned && pins || !pinned && automatic) {
			removed = append(removed, **place)
			l.take(target, e, pinned)
		}
	}
	return removed
}

// Expire takes away what has ended at now, in the order of ending.
func (l *Ledger) Expire(now time.Time) (ended []Decision, changes []Change) {
	for {
		d := l.expiry.popEnded(now)
		if d == nil {
			break
		}
		l.expiry.lost = max(l.expiry.lost-1, 0)
		if e := l.find(d.Target); e != nil && *e.place(d.Pinned) == d {
			ended = append(ended, *d)
			l.take(d.Target, e, d.Pinned)
		}
	}
	return ended, l.changes()
}

// take removes the pin or the automatic decision of e, which stands on t.
func (l *Ledger) take(t Target, e *entry, pinned bool) {
	l.stand(e.place(pinned), nil)
	l.outdated(1)
	if t.User != "" && e.own() == nil {
		delete(l.users, t.User)
	}
	l.settleFor(t, e, pinned)
}

// outdated notes that n more decisions in the heap do not stand any more.
func (l *Ledger) outdated(n int) {
	l.expiry.lost += n
	l.expiry.compact(func(d *Decision) bool {
		e := l.find(d.Target)
		return e != nil && *e.place(d.Pinned) == d
	})
}

func (e *entry) place(pinned bool) **Decision {
	if pinned {
		return &e.pin
	}
	return &e.automatic
}

// forget ends a call: entries that hold nothing go.
func (l *Ledger) forget() {
	l.spare = nil
	for _, t := range l.touched {
		if t.entry.own() == nil {
			l.entries.Delete(t.prefix)
		}
		t.entry.touched = false
	}
	clear(l.touched)
	l.touched = l.touched[:0]
	if cap(l.touched) > 1<<16 { // a wide pin, and much inside
		l.touched = nil
	}
}

// find returns the entry of a target in judged form, or nil.
func (l *Ledger) find(t Target) *entry {
	if t.User != "" {
		return l.users[t.User]
	}
	e, _ := l.entries.Get(t.Prefix)
	return e
}

// entry returns the entry of a target in judged form, a new one if need be.
func (l *Ledger) entry(t Target) *entry {
	if e := l.find(t); e != nil {
		return e
	}
	if len(l.spare) == 0 {
		l.spare = make([]entry, 1)
	}
	e := &l.spare[0]
	*e = entry{} // new memory that is read before it is written costs two page faults
	l.spare = l.spare[1:]
	if t.User != "" {
		l.users[t.User] = e
	} else {
		l.entries.Insert(t.Prefix, e)
	}
	return e
}

// InForce yields what enforcement must hold, sorted by prefix. The ledger
// must not be changed meanwhile.
func (l *Ledger) InForce() iter.Seq[*Decision] {
	return func(yield func(*Decision) bool) {
		for _, e := range l.entries.AllSorted() {
			if e.inForce != nil && !yield(e.inForce) {
				return
			}
		}
	}
}

// All yields every decision and pin, in force or not: prefixes first, then
// users, each sorted, on the same target a pin before the automatic decision
// before a list's.
// The configured allow list is not among them. The ledger must not be changed
// meanwhile.
func (l *Ledger) All() iter.Seq[*Decision] {
	return func(yield func(*Decision) bool) {
		for _, e := range l.entries.AllSorted() {
			if !e.yield(yield) {
				return
			}
		}
		l.OnUsers()(yield)
	}
}

// OnUsers yields those of All that are on users.
func (l *Ledger) OnUsers() iter.Seq[*Decision] {
	return func(yield func(*Decision) bool) {
		for _, user := range slices.Sorted(maps.Keys(l.users)) {
			if !l.users[user].yield(yield) {
				return
			}
		}
	}
}

func (e *entry) yield(yield func(*Decision) bool) bool {
	return (e.pin == nil || yield(e.pin)) && (e.automatic == nil || yield(e.automatic)) && (e.listed == nil || yield(e.listed))
}

// Configured reports whether the configuration's allow list names exactly
// this prefix.
func (l *Ledger) Configured(p netip.Prefix) bool {
	e, found := l.entries.Get(JudgedPrefix(p))
	return found && e.configured != nil
}

// Get returns the pin and the automatic decision on exactly this target, nil
// where there is none.
func (l *Ledger) Get(target Target) (pin, automatic *Decision) {
	target.Prefix = JudgedPrefix(target.Prefix)
	if e := l.find(target); e != nil {
		return e.pin, e.automatic
	}
	return nil, nil
}
