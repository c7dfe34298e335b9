package policy

// Tally is how much a ledger holds. It is kept up to date with every change:
// to count a million decisions takes a second, for which nothing else could be
// decided.
type Tally struct {
	ByAction [len(actionNames)]int // decisions and pins, by their Action
	Pinned   int
	Users    int // those on users
	InForce  int // those on prefixes that are in force
}

// Tally returns how much the ledger holds. The configured allow list is not counted.
func (l *Ledger) Tally() Tally { return l.tally }

// Total is the number of all decisions and pins, in force or not.
func (t *Tally) Total() (n int) {
	for _, of := range t.ByAction {
		n += of
	}
	return n
}

// stand puts d, or nothing if it is nil, into a place of an entry.
func (l *Ledger) stand(place **Decision, d *Decision) {
	l.tally.add(*place, -1)
	l.tally.add(d, 1)
	*place = d
}

func (t *Tally) add(d *Decision, n int) {
	if d == nil {
		return
	}
	t.ByAction[d.Action] += n
	if d.Pinned {
		t.Pinned += n
	}
	if d.User != "" {
		t.Users += n
	}
}

func (t *Tally) addInForce(d *Decision, n int) {
	if d != nil && !d.Configured() {
		t.InForce += n
	}
}
