package enforce

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"weir/loader"
	"weir/policy"
)

// Many pieces, of which some of every kind are right, different, missing and unknown.
func TestReconcileMany(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 7))
	table := newTable()
	e := mustNew(t, table, nil)
	var inForce []*policy.Decision
	want := Report{}
	wanted := map[netip.Prefix]loader.Action{}
	for i := range 3*pieceSize + 17 {
		d := decision(fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255), policy.Drop)
		have, _ := entryOf(d, time.Time{})
		switch random.IntN(8) {
		case 0:
			want.Put++
		case 1:
			have.Action = loader.ActionAllow
			table.entries[d.Prefix] = have
			want.Put++
		case 2:
			table.entries[d.Prefix] = have
			want.Deleted++
			continue
		default:
			table.entries[d.Prefix] = have
			want.Kept++
		}
		wanted[d.Prefix] = loader.ActionDrop
		inForce = append(inForce, d)
	}
	bad := decision("192.0.2.1/32", policy.Guard)
	report, err := e.Reconcile(slices.Values(append(inForce, bad)))
	if err == nil || report != want || table.puts != want.Put || !maps.Equal(table.actions(), wanted) {
		t.Errorf("%v; got %+v, want %+v; %d puts; %d entries, want %d", err, report, want, table.puts, len(table.entries), len(wanted))
	}
}

func TestTakeOver(t *testing.T) {
	ended := decision("192.0.2.7/32", policy.Drop)
	ended.Until = now
	for _, c := range []struct {
		most int
		stay []string
	}{{2, []string{"192.0.2.3/32", "192.0.2.4/32"}}, {1, nil}} {
		table := newTable()
		e := mustNew(t, table, nil)
		mustApply(t, e, change("192.0.2.1/32", policy.Drop), change("192.0.2.3/32", policy.Drop), change("192.0.2.4/32", policy.Limit),
			change("192.0.2.5/32", policy.Drop), policy.Change{Prefix: ended.Prefix, Decision: ended})
		left, report, err := e.TakeOver(slices.Values([]*policy.Decision{decision("192.0.2.1/32", policy.Drop)}), Leave{
			Now: now, Most: c.most, Stay: func(d *policy.Decision) bool { return d.Prefix != prefix("192.0.2.5/32") },
		})
		if err != nil || report != (Report{Kept: 1 + len(c.stay), Deleted: 4 - len(c.stay)}) || len(left) != len(c.stay) {
			t.Errorf("%d may stay: %v, %+v, %v", c.most, err, report, left)
		}
		for _, d := range left {
			if !slices.Contains(c.stay, d.Prefix.String()) || d.Rule != RecoveredRule || !d.Since.Equal(now) {
				t.Errorf("%d may stay: %+v", c.most, d)
			}
		}
		if len(table.entries) != 1+len(c.stay) {
			t.Errorf("%d may stay: %v", c.most, table.entries)
		}
		if e.spared[prefix("192.0.2.4/32")] != (len(c.stay) > 0) {
			t.Errorf("%d may stay: spared %v", c.most, e.spared)
		}
	}
}

// halting is a table that cannot be read after the first piece.
type halting struct{ *table }

func (h halting) Compare(pieces iter.Seq[[]loader.Entry], answer func([]loader.Entry)) (iter.Seq2[loader.Entry, error], error) {
	for range pieces {
		break
	}
	return nil, errUnreadable
}

// Whoever reads what is in force has ended when Reconcile returns, also early.
func TestReconcileFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		mustApply(t, mustNew(t, table, nil), change("192.0.2.1/32", policy.Drop))
		e := mustNew(t, halting{table}, nil)
		ended := false
		_, err := e.Reconcile(func(yield func(*policy.Decision) bool) {
			defer func() { ended = true }()
			for i := range 9 * pieceSize {
				if !yield(decision(fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255), policy.Drop)) {
					return
				}
			}
		})
		if !errors.Is(err, errUnreadable) || !ended || len(table.entries) != 1 {
			t.Errorf("%v, ended %t, %v", err, ended, table.entries)
		}
	})
}
