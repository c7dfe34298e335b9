package policy

import "time"

// quotaSlots is how many parts a quota's time is counted in. What was sent
// counts for at least the quota's time and for at most a sixtieth of it
// longer: within an hour a minute, within a day 24. So no more than the quota
// ever passes in any span of its time, and who has spent it waits for no more
// than a sixtieth too long.
const quotaSlots = 60

// quotaWindow counts one measure over one time for one party.
type quotaWindow struct {
	measure Measure // MeasureRecipients, or MeasureEvents for messages
	within  time.Duration
	newest  int64  // number of the newest slot, counted from 1970
	sum     uint64 // of all slots
	tat     int64  // when all that passed would have, had it come evenly; for a burst
	counts  [quotaSlots + 1]uint32
}

// width is the time of a slot.
func (w *quotaWindow) width() int64 { return (int64(w.within) + quotaSlots - 1) / quotaSlots }

func (w *quotaWindow) at(slot int64) *uint32 { return &w.counts[slot%(quotaSlots+1)] }

// advance lets go of what is too old at a time.
func (w *quotaWindow) advance(at int64) {
	now := at / w.width()
	if now <= w.newest {
		return
	}
	if now-w.newest > quotaSlots {
		w.counts, w.sum = [quotaSlots + 1]uint32{}, 0
	}
	for w.newest = max(w.newest, now-quotaSlots-1); w.newest < now; {
		w.newest++
		w.sum -= uint64(*w.at(w.newest))
		*w.at(w.newest) = 0
	}
}

// room reports whether n more fit into span at a time, and if not, from when
// on they will if nothing else is sent; 0 if they never do.
func (w *quotaWindow) room(span QuotaSpan, at int64, n int) (until int64, fits bool) {
	if n > span.Count {
		return 0, false
	}
	w.advance(at)
	until = at
	if missing := int64(w.sum) + int64(n) - int64(span.Count); missing > 0 {
		slot := w.newest - quotaSlots
		for ; missing > 0; slot++ {
			missing -= int64(*w.at(slot))
		}
		until = (slot + quotaSlots) * w.width()
	}
	if span.Burst > 0 {
		// A message larger than the burst waits until all of it is free.
		every := int64(span.Within) / int64(span.Count)
		until = max(until, w.tat+(int64(min(n, span.Burst))-int64(span.Burst))*every)
	}
	return until, until <= at
}

// add counts n that were sent at a time, which may lie back.
func (w *quotaWindow) add(span QuotaSpan, at int64, n int) {
	w.advance(at)
	slot := at / w.width()
	if slot < w.newest-quotaSlots {
		return
	}
	c := w.at(slot)
	n = int(min(uint64(n), uint64(^uint32(0)-*c)))
	*c += uint32(n)
	w.sum += uint64(n)
	if span.Burst > 0 {
		w.tat = max(w.tat, at) + int64(n)*(int64(span.Within)/int64(span.Count))
	}
}

// quotaAccount is what one party has spent.
type quotaAccount struct{ windows []quotaWindow }

// find returns the window of a measure and a time, nil if nothing was spent
// there.
func (a *quotaAccount) find(m Measure, within time.Duration) *quotaWindow {
	if a == nil {
		return nil
	}
	for i := range a.windows {
		if w := &a.windows[i]; w.measure == m && w.within == within {
			return w
		}
	}
	return nil
}

// open returns the window of a measure and a time, which is made if need be.
func (a *quotaAccount) open(m Measure, within time.Duration, most int) *quotaWindow {
	if w := a.find(m, within); w != nil {
		return w
	}
	if a.windows == nil {
		a.windows = make([]quotaWindow, 0, most)
	}
	a.windows = append(a.windows, quotaWindow{measure: m, within: within})
	return &a.windows[len(a.windows)-1]
}

// spent is how much is still counted at a time.
func (a *quotaAccount) spent(at int64) (sum uint64) {
	for i := range a.windows {
		a.windows[i].advance(at)
		sum += a.windows[i].sum
	}
	return sum
}

// keep forgets windows that no span of q asks for any more.
func (a *quotaAccount) keep(q Quota) {
	kept := a.windows[:0]
	for _, w := range a.windows {
		spans := q.Recipients
		if w.measure == MeasureEvents {
			spans = q.Messages
		}
		for _, s := range spans {
			if s.Within == w.within {
				kept = append(kept, w)
				break
			}
		}
	}
	clear(a.windows[len(kept):])
	a.windows = kept
}
