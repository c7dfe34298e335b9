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
	case e.listed == nil, e.automatic != nil && severity(e.automatic.Action) > severity(e.listed.Action):
		return e.automatic
	}
	return e.listed
}

// laid returns what the operator laid down on the prefix of e, less allows.
func (e *entry) laid() *Decision {
	if e.pin != nil {
		return e.pin
	}
	return e.listed
}

func (e *entry) allows() bool { return e.own() != nil && e.own().Action == Allow }

// settle works out what is in force of e, which stands on p.
func (l *Ledger) settle(p netip.Prefix, e *entry) {
	if !e.touched {
		e.touched = true
		l.touched = append(l.touched, touch{p, e, e.inForce})
	}
	l.tally.addInForce(e.inForce, -1)
	e.inForce = e.own()
	if e.inForce != nil && !e.allows() {
		if by, _ := l.silencer(p, e); by != nil {
			e.inForce = nil
		}
	}
	l.tally.addInForce(e.inForce, 1)
}

// settleFor works out what is in force after the pin, or else the automatic
// decision, of e has changed, which stands on t.
func (l *Ledger) settleFor(t Target, e *entry, pinned bool) {
	switch {
	case t.User != "":
	case pinned && !single(t.Prefix):
		l.settleWithin(t.Prefix)
	default:
		l.settle(t.Prefix, e)
	}
}

// settleWithin works out what is in force of p and of all prefixes inside.
func (l *Ledger) settleWithin(p netip.Prefix) {
	for inner, e := range l.entries.Subnets(p) {
		l.settle(inner, e)
	}
}

// silencer returns the decision that keeps the own one of e, which stands on
// p and is no allow, from being in force, and the prefix of that; or nil.
func (l *Ledger) silencer(p netip.Prefix, e *entry) (*Decision, netip.Prefix) {
	var laid *Decision // by the operator, on the longest prefix around e
	for q, outer := range l.entries.Supernets(p) {
		if outer.allows() {
			return outer.own(), q
		}
		if laid == nil && q != p {
			laid = outer.laid()
		}
	}
	if laid != nil && !e.own().Pinned && milder(e.own(), laid) {
		return laid, laid.Prefix
	}
	return nil, netip.Prefix{}
}

// milder reports whether a source may get more past d than past what the
// operator laid down around it. Of limits that are alike that is the stricter
// one: its whole prefix shares it.
func milder(d, laid *Decision) bool {
	if d.Action == Limit && laid.Action == Limit {
		return true
	}
	return severity(d.Action) < severity(laid.Action)
}

// changes ends a call, and returns the difference that it made.
func (l *Ledger) changes() []Change {
	var out []Change
	for i, t := range l.touched {
		if !sameEffect(t.before, t.entry.inForce) {
			if out == nil {
				out = make([]Change, 0, len(l.touched)-i)
			}
			out = append(out, Change{Prefix: t.prefix, Decision: t.entry.inForce})
		}
	}
	l.forget()
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

// LookupPrefix returns everything that concerns every address of p: each
// decision, pin and configured allow whose prefix covers p, longest prefix
// first, on the same prefix the configured allow, the pin, the automatic one, the
// list's.
// What concerns only a part of p is left out.
func (l *Ledger) LookupPrefix(p netip.Prefix) []Concern {
	if p = JudgedPrefix(p); !p.IsValid() {
		return nil
	}
	var out []Concern
	decided := false
	for prefix, e := range l.entries.Supernets(p) {
		for _, d := range []*Decision{e.configured, e.pin, e.automatic, e.listed} {
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
				by, on := l.silencer(prefix, e)
				c.Why = describe(by, on) + " silences it"
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
	case d.Listed:
		return "the list's entry on the longest prefix"
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
		if d.Reason != ConfiguredReason {
			return PrefixString(on) + ", which is " + d.Reason + ","
		}
	case d.Listed:
		kind = "what list " + d.Rule + " says, to " + d.Action.String() + " "
	}
	return kind + PrefixString(on)
}
