package policy

import "time"

// familiarity is the span of successes from one source.
type familiarity struct{ first, last int64 }

// learn notes a success. One that comes after FamiliarFor without any begins
// a new span.
func (f *familiarity) learn(at int64) {
	if f.last == 0 || at-f.last > int64(FamiliarFor) {
		f.first, f.last = at, at
		return
	}
	f.first = min(f.first, at)
	f.last = max(f.last, at)
}

// since reports whether, at a time, successes began at least span ago and
// have not ceased for FamiliarFor.
func (f *familiarity) since(at int64, span time.Duration) bool {
	return f.last != 0 && at-f.first >= int64(span) && at-f.last <= int64(FamiliarFor)
}

// fresh reports whether there was a success within FamiliarFor.
func (f *familiarity) fresh(at int64) bool { return f.last != 0 && at-f.last <= int64(FamiliarFor) }

// maxHomes is how many sources are remembered as a user's own.
const maxHomes = 8

// home is a source that a user succeeded from.
type home struct {
	source Source
	familiarity
}

// homes is the sources that one user succeeded from. When it is full, a new
// source takes the place of the one with the shortest span of successes, the
// later of equals: a thousand sources that share a stolen password displace
// each other, and the source that the user has had for months stays.
type homes [maxHomes]home

// find returns the entry of source, or nil.
func (h *homes) find(source Source) *home {
	for i := range h {
		if h[i].source == source {
			return &h[i]
		}
	}
	return nil
}

// familiar reports whether source is the user's own at a time; see
// familiarity.since.
func (h *homes) familiar(source Source, at int64, span time.Duration) bool {
	known := h.find(source)
	return known != nil && known.since(at, span)
}

// learn notes a success from source.
func (h *homes) learn(source Source, at int64) { learn(h[:], source, at) }

func learn(all []home, source Source, at int64) {
	place := &all[0]
	full := true
	for i := range all {
		have := &all[i]
		if have.source == source {
			have.learn(at)
			return
		}
		if !full {
			continue
		}
		if !have.source.IsValid() || at-have.last > int64(FamiliarFor) {
			place, full = have, false
			continue
		}
		span, shortest := have.last-have.first, place.last-place.first
		if span < shortest || span == shortest && have.first > place.first {
			place = have
		}
	}
	*place = home{source: source, familiarity: familiarity{first: at, last: at}}
}

// forget makes source a stranger.
func (h *homes) forget(source Source) {
	if known := h.find(source); known != nil {
		*known = home{}
	}
}

// settled reports whether source is strange to a user who has long had another:
// one that was first succeeded from at least span before, and before this one.
func (h *homes) settled(source Source, at int64, span time.Duration) bool {
	first := at
	if known := h.find(source); known != nil && known.fresh(at) {
		first = known.first
	}
	for i := range h {
		have := &h[i]
		if have.source != source && have.fresh(at) && first-have.first >= int64(span) {
			return true
		}
	}
	return false
}

// eldest reports whether source is the one that the user has succeeded from for
// the longest, settledAfter at least.
func (h *homes) eldest(source Source, at int64) bool {
	first := h.find(source)
	if first == nil || !first.since(at, settledAfter) {
		return false
	}
	for i := range h {
		if have := &h[i]; have.source.IsValid() && have.fresh(at) && have.first < first.first {
			return false
		}
	}
	return true
}

// maxNets is how many networks are remembered as a user's own.
const maxNets = 4

// nets is the networks that one user succeeded from, found and displaced as
// homes are. A telephone that gets a new address from its carrier every hour
// has 18 sources a day and one network.
type nets [maxNets]home

// find returns the entry of a network, or nil.
func (n *nets) find(network Source) *home {
	for i := range n {
		if n[i].source == network {
			return &n[i]
		}
	}
	return nil
}

func (n *nets) familiar(source Source, at int64, span time.Duration) bool {
	known := n.find(source.network())
	return known != nil && known.since(at, span)
}

// learn notes a success from source.
func (n *nets) learn(source Source, at int64) { learn(n[:], source.network(), at) }

// forget makes the network of source strange, unless it was familiar for span.
func (n *nets) forget(source Source, at int64, span time.Duration) {
	if known := n.find(source.network()); known != nil && !known.since(at, span) {
		*known = home{}
	}
}
