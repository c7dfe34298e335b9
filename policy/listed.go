package policy

import "net/netip"

// PutListed enters what operators' lists say of prefixes, each in place of
// what a list said of the same prefix before. Decisions must be Listed, of
// prefixes, and without an end. A million at once are fine, and quicker if
// they are sorted by prefix (netip.Prefix.Compare): wide ones come before
// those inside then. They are held in one piece of memory, as Put holds them;
// decisions must not be changed any more.
func (l *Ledger) PutListed(decisions ...Decision) []Change {
	for i := range decisions {
		d := &decisions[i]
		if d.Prefix = JudgedPrefix(d.Prefix); !d.Prefix.IsValid() || !d.Listed {
			continue
		}
		e := l.entry(Target{Prefix: d.Prefix})
		l.stand(&e.listed, d)
		l.settleFor(d.Target, e, true) // as a pin: it concerns what is inside
	}
	return l.changes()
}

// RemoveListed takes away what lists say of exactly these prefixes.
func (l *Ledger) RemoveListed(prefixes ...netip.Prefix) []Change {
	for _, p := range prefixes {
		t := Target{Prefix: JudgedPrefix(p)}
		if e := l.find(t); e != nil && e.listed != nil {
			l.stand(&e.listed, nil)
			l.settleFor(t, e, true)
		}
	}
	return l.changes()
}

// Listed returns what a list says of exactly this prefix, nil if none does.
func (l *Ledger) Listed(p netip.Prefix) *Decision {
	if e, found := l.entries.Get(JudgedPrefix(p)); found {
		return e.listed
	}
	return nil
}

// Deciding returns what decides about p, nil if nothing does: what
// LookupPrefix says wins.
func (l *Ledger) Deciding(p netip.Prefix) *Decision {
	for _, e := range l.entries.Supernets(JudgedPrefix(p)) {
		if e.inForce != nil {
			return e.inForce
		}
	}
	return nil
}

// OnUser returns what stands on a user (Prevailing).
func (l *Ledger) OnUser(name string) *Decision {
	if e := l.users[FoldUser(name)]; e != nil {
		return Prevailing(e.pin, e.automatic)
	}
	return nil
}
