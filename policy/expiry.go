package policy

import "time"

// expiryHeap orders decisions by their end, then by their target, so that
// the order of equal ends does not depend on that of their coming; those
// without an end come last. Decisions that were replaced or removed stay in it
// until they would have ended, or until they are the greater part.
type expiryHeap struct {
	items []*Decision
	lost  int // at least as many items no longer stand
}

func endsBefore(a, b *Decision) bool {
	if c := a.Until.Compare(b.Until); c != 0 {
		return c < 0 && !a.Until.IsZero() || b.Until.IsZero()
	}
	if c := a.Prefix.Compare(b.Prefix); c != 0 {
		return c < 0
	}
	if a.User != b.User {
		return a.User < b.User
	}
	return a.Pinned && !b.Pinned
}

func (h *expiryHeap) push(d *Decision) {
	h.items = append(h.items, d)
	for i := len(h.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !endsBefore(h.items[i], h.items[up]) {
			break
		}
		h.items[i], h.items[up] = h.items[up], h.items[i]
		i = up
	}
}

// popEnded takes out the first decision if it has ended, else returns nil.
func (h *expiryHeap) popEnded(now time.Time) *Decision {
	if len(h.items) == 0 || !h.items[0].Ended(now) {
		return nil
	}
	first, last := h.items[0], len(h.items)-1
	h.items[0], h.items[last] = h.items[last], nil
	h.items = h.items[:last]
	h.sink(0)
	return first
}

func (h *expiryHeap) sink(i int) {
	for {
		down := 2*i + 1
		if down >= len(h.items) {
			return
		}
		if down+1 < len(h.items) && endsBefore(h.items[down+1], h.items[down]) {
			down++
		}
		if !endsBefore(h.items[down], h.items[i]) {
			return
		}
		h.items[i], h.items[down] = h.items[down], h.items[i]
		i = down
	}
}

// compact throws out what no longer stands once that is the greater part.
func (h *expiryHeap) compact(stands func(*Decision) bool) {
	if h.lost < 1024 || h.lost <= len(h.items)/2 {
		return
	}
	kept := h.items[:0]
	for _, d := range h.items {
		if stands(d) {
			kept = append(kept, d)
		}
	}
	clear(h.items[len(kept):])
	h.items, h.lost = kept, 0
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}
