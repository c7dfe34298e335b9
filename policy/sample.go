package policy

import "net/netip"

// Sample returns up to n decisions that are in force, not all of them
// different. pick chooses a number from 0 to below its argument.
func (l *Ledger) Sample(n int, pick func(int) int) []*Decision {
	var sample []*Decision
	items := l.expiry.items
	for range n {
		if len(items) == 0 {
			break
		}
		d := items[pick(len(items))].Decision
		if d.User == "" && l.InForceOn(d.Prefix) == d {
			sample = append(sample, d)
		}
	}
	return sample
}

// InForceOn returns what is in force on exactly this prefix, nil if nothing is.
func (l *Ledger) InForceOn(p netip.Prefix) *Decision {
	if e, found := l.entries.Get(JudgedPrefix(p)); found {
		return e.inForce
	}
	return nil
}
