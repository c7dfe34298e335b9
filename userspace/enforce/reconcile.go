package enforce

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"weir/loader"
	"weir/policy"
)

// Report is what Reconcile found and did.
type Report struct {
	Kept    int // entries that were right, and those that were left
	Put     int // entries that were missing or different
	Deleted int // entries that nothing stands behind
}

// Leave says which entries stay although nothing stands behind them.
type Leave struct {
	Now  time.Time                   // as of which they have not ended
	Most int                         // if there are more, none stays
	Stay func(*policy.Decision) bool // given the decision that one may stand for
}

// Reconcile makes the table hold exactly what is in force. Entries that are
// right are left alone, and the counters of those that change go on. What is
// in force is read in a goroutine.
func (e *Enforcer) Reconcile(inForce iter.Seq[*policy.Decision]) (Report, error) {
	_, report, err := e.TakeOver(inForce, Leave{})
	return report, err
}

// TakeOver is Reconcile for a table in which a run before may have left what is not
// known yet. It returns the decisions behind the entries that stay.
func (e *Enforcer) TakeOver(inForce iter.Seq[*policy.Decision], leave Leave) (left []policy.Decision, report Report, err error) {
	if e == nil {
		return nil, report, nil
	}
	clear(e.spared)
	r := reconciling{e: e, report: &report}
	if e.o.Table.Empty() {
		for p := range ahead(inForce, e.o.End) {
			r.take(p)
			r.put(p.entries)
		}
		return nil, report, errors.Join(r.errs...)
	}
	var lacking []*policy.Decision
	var p *piece
	rest, err := e.o.Table.Compare(func(yield func([]loader.Entry) bool) {
		for p = range ahead(inForce, e.o.End) {
			if r.take(p); !yield(p.entries) {
				return
			}
		}
	}, func(have []loader.Entry) {
		for i := range have {
			if have[i].Action != 0 && same(have[i], p.entries[i]) {
				report.Kept++
			} else {
				lacking = append(lacking, p.decisions[i])
			}
		}
	})
	if err != nil {
		return nil, report, fmt.Errorf("read the verdict table: %w", err)
	}
	left, stale, err := e.unknown(rest, leave)
	if err != nil {
		return nil, report, err
	}
	report.Kept += len(left)
	report.Deleted = len(stale)
	for p := range ahead(slices.Values(lacking), e.o.End) {
		r.put(p.entries)
	}
	if len(stale) > 0 {
		r.errs = append(r.errs, wrap("delete from the verdict table", e.o.Table.Delete(stale...)))
		r.again() // there may be room now
	}
	return left, report, errors.Join(r.errs...)
}

// reconciling is what Reconcile does under way.
type reconciling struct {
	e       *Enforcer
	report  *Report
	errs    []error
	refused []loader.Entry // by a full table
}

// take takes over from a piece what it knows.
func (r *reconciling) take(p *piece) {
	r.errs = append(r.errs, p.errs...)
	for i := range p.entries {
		r.e.spare(&p.entries[i])
	}
}

func (r *reconciling) put(entries []loader.Entry) {
	r.report.Put += len(entries)
	err := r.e.put(entries)
	if errors.Is(err, loader.ErrFull) {
		r.refused = append(r.refused, entries...)
	}
	r.errs = append(r.errs, err)
}

// again puts what a full table had no room for.
func (r *reconciling) again() {
	if len(r.refused) > 0 {
		r.errs = slices.DeleteFunc(r.errs, func(err error) bool { return errors.Is(err, loader.ErrFull) })
		r.errs = append(r.errs, r.e.put(r.refused))
	}
}

// unknown tells of the entries behind which nothing stands which decisions stay, and
// which go.
func (e *Enforcer) unknown(rest iter.Seq2[loader.Entry, error], leave Leave) (left []policy.Decision, stale []netip.Prefix, err error) {
	stay := leave.Stay
	for have, err := range rest {
		if err != nil {
			return nil, nil, fmt.Errorf("read the verdict table: %w", err)
		}
		if stay != nil {
			d, err := decisionOf(have)
			d.Since = leave.Now
			if err == nil && !d.Ended(leave.Now) && stay(&d) {
				if left = append(left, d); len(left) <= leave.Most {
					continue
				}
				for i := range left[:leave.Most] {
					stale = append(stale, left[i].Prefix)
				}
				stay, left = nil, nil
			}
		}
		stale = append(stale, have.Prefix)
	}
	for i := range left {
		if _, err := e.entry(&left[i]); err != nil {
			return nil, nil, err
		}
	}
	return left, stale, nil
}

// piece is a part of what is in force.
type piece struct {
	decisions []*policy.Decision
	entries   []loader.Entry // of these decisions
	errs      []error        // of what has no entry
}

// pieceSize is how many entries are put, or compared, at once: so that a million need
// no memory for all, and that those at hand are still in the caches.
const pieceSize = 1 << 14

// ahead yields what is in force in pieces, each valid until the next one. The next
// is made meanwhile, beside who has this one.
func ahead(inForce iter.Seq[*policy.Decision], end time.Time) iter.Seq[*piece] {
	return func(yield func(*piece) bool) {
		full, empty := make(chan *piece, 1), make(chan *piece, 2)
		for range cap(empty) {
			empty <- &piece{}
		}
		done := make(chan struct{})
		go func() {
			defer close(full)
			for p := range pieces(inForce, end, empty) {
				select {
				case full <- p:
				case <-done:
					return
				}
			}
		}()
		defer func() {
			close(done)
			for p := range full { // until nobody reads what is in force any more
				empty <- p
			}
		}()
		for p := range full {
			if !yield(p) {
				return
			}
			empty <- p
		}
	}
}

// pieces yields what is in force in pieces that are empty.
func pieces(inForce iter.Seq[*policy.Decision], end time.Time, empty <-chan *piece) iter.Seq[*piece] {
	return func(yield func(*piece) bool) {
		next := func() *piece {
			p := <-empty
			*p = piece{p.decisions[:0], p.entries[:0], nil}
			return p
		}
		p := next()
		for d := range inForce {
			if loader.Reserved(d.Prefix) {
				continue // the table will not take it
			}
			entry, err := entryOf(d, end)
			if err != nil {
				p.errs = append(p.errs, err)
				continue
			}
			if p.entries == nil {
				p.decisions, p.entries = make([]*policy.Decision, 0, pieceSize), make([]loader.Entry, 0, pieceSize)
			}
			if p.decisions, p.entries = append(p.decisions, d), append(p.entries, entry); len(p.entries) < pieceSize {
				continue
			}
			if !yield(p) {
				return
			}
			p = next()
		}
		yield(p)
	}
}
