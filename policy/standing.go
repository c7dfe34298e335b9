package policy

import "net/netip"

// own returns the decision that e would have in force if no other prefix had
// a say.
func (e *entry) own() *Decision {
	switch {
	case e.configured != nil:
		return e.configured
	case e.pin != nil:
		return e.pin
	}
	return e.automatic
}

func (e *entry) allows() bool { return e.own() != nil && e.own().Action == Allow }

// settle works out what is in force of e.
func (l *Ledger) settle(e *entry) {
	if !e.touched {
		e.touched, e.before = true, e.inForce
		l.touched = append(l.touched, e)
	}
	e.inForce = e.own()
	if e.inForce != nil && !e.allows() {
		if by, _ := l.silencer(e); by != nil {
			e.inForce = nil
		}
	}
}

// settleFor works out what is in force after e's pin, or else its automatic
// decision, has changed.
func (l *Ledger) settleFor(e *entry, pinned bool) {
	switch {
	case e.target.User != "":
	case pinned && !single(e.target.Prefix):
		l.settleWithin(e)
	default:
		l.settle(e)
	}
}

// settleWithin works out what is in force of e and of all prefixes inside.
func (l *Ledger) settleWithin(e *entry) {
	for _, inner := range l.entries.Subnets(e.target.Prefix) {
		l.settle(inner)
	}
}

// silencer returns the decision that keeps e's own from being in force, and
// the entry it stands on, or nil. e's own is no allow.
func (l *Ledger) silencer(e *entry) (*Decision, *entry) {
	var pin *entry // the longest pin around e
	for p, outer := range l.entries.Supernets(e.target.Prefix) {
		if outer.allows() {
			return outer.own(), outer
		}
		if pin == nil && outer.pin != nil && p != e.target.Prefix {
			pin = outer
		}
	}
	if pin != nil && !e.own().Pinned && severity(e.own().Action) <= severity(pin.pin.Action) {
		return pin.pin, pin
	}
	return nil, nil
}

// changes ends a call: it forgets entries that hold nothing, and returns the
// difference that the call made.
func (l *Ledger) changes() []Change {
	var out []Change
	for _, e := range l.touched {
		if !sameEffect(e.before, e.inForce) {
			out = append(out, Change{Prefix: e.target.Prefix, Decision: e.inForce})
		}
		if e.own() == nil {
			l.entries.Delete(e.target.Prefix)
		}
		e.before, e.touched = nil, false
	}
	clear(l.touched)
	l.touched = l.touched[:0]
	if cap(l.touched) > 1<<16 {
		l.touched = nil
	}
	return out
}

// sameEffect reports whether enforcement can tell a from b.
func sameEffect(a, b *Decision) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Action == b.Action && a.Rate == b.Rate && a.Until.Equal(b.Until)
}

// Concern is one decision that covers a looked-up prefix.
type Concern struct {
	Decision *Decision
	Wins     bool   // this one decides about the prefix
	Why      string // why it wins or does not, in plain words
}

// Lookup returns everything that concerns addr: every decision, pin and
// configured allow whose prefix covers its source, longest prefix first, on
// the same prefix the configured allow, the pin, the automatic one.
func (l *Ledger) Lookup(addr netip.Addr) []Concern {
	if !addr.IsValid() {
		return nil
	}
	return l.LookupPrefix(netip.PrefixFrom(addr.WithZone(""), addr.BitLen()))
}

// LookupPrefix is Lookup for every address of p: it leaves out what concerns
// only a part of p.
func (l *Ledger) LookupPrefix(p netip.Prefix) []Concern {
	if p = JudgedPrefix(p); !p.IsValid() {
		return nil
	}
	var out []Concern
	decided := false
	for prefix, e := range l.entries.Supernets(p) {
		for _, d := range []*Decision{e.configured, e.pin, e.automatic} {
			if d == nil {
				continue
			}
			c := Concern{Decision: d}
			switch {
			case d == e.inForce && !decided:
				c.Wins, c.Why = true, winsBecause(d)
				decided = true
			case d == e.inForce:
				c.Why = "a longer prefix decides"
			case d != e.own():
				c.Why = describe(e.own(), prefix) + " comes before it"
			default:
				by, on := l.silencer(e)
				c.Why = describe(by, on.target.Prefix) + " silences it"
			}
			out = append(out, c)
		}
	}
	return out
}

func winsBecause(d *Decision) string {
	switch {
	case d.Action == Allow:
		return "allow always wins"
	case d.Pinned:
		return "the pin on the longest prefix"
	}
	return "the decision on the longest prefix"
}

// describe names a decision for a sentence that continues.
func describe(d *Decision, on netip.Prefix) string {
	kind := "the decision to " + d.Action.String() + " "
	switch {
	case d.Pinned:
		kind = "the pin to " + d.Action.String() + " "
	case d.Action == Allow:
		kind = "the configuration's allow of "
	}
	return kind + PrefixString(on)
}
