package policy

import (
	"math"
	"slices"
	"time"
)

// expiryHeap orders decisions by their end, then by their target, so that
// the order of equal ends does not depend on that of their coming; those
// without an end come last. Decisions that were replaced or removed stay in it
// until they would have ended, or until they are the greater part.
type expiryHeap struct {
	items []expiring
	lost  int // at least as many items no longer stand
}

// expiring is a decision and the second of its end, which nearly always tells the
// order: most of what the order is about need not be read.
type expiring struct {
	end int64 // by Unix time
	*Decision
}

func expiringOf(d *Decision) expiring {
	if d.Until.IsZero() {
		return expiring{math.MaxInt64, d}
	}
	return expiring{d.Until.Unix(), d}
}

// before reports whether a comes before b.
func (a expiring) before(b expiring) bool {
	if a.end != b.end {
		return a.end < b.end
	}
	return endsBefore(a.Decision, b.Decision)
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

// expect makes room for so many more.
func (h *expiryHeap) expect(n int) { h.items = slices.Grow(h.items, n) }

func (h *expiryHeap) push(d *Decision) {
	h.items = append(h.items, expiringOf(d))
	for i := len(h.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.items[i].before(h.items[up]) {
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
	h.items[0], h.items[last] = h.items[last], expiring{}
	h.items = h.items[:last]
	h.sink(0)
	return first.Decision
}

func (h *expiryHeap) sink(i int) {
	for {
		down := 2*i + 1
		if down >= len(h.items) {
			return
		}
		if down+1 < len(h.items) && h.items[down+1].before(h.items[down]) {
			down++
		}
		if !h.items[down].before(h.items[i]) {
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
	for _, item := range h.items {
		if stands(item.Decision) {
			kept = append(kept, item)
		}
	}
	clear(h.items[len(kept):])
	h.items, h.lost = kept, 0
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}
