package enforce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
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

// table keeps entries as the kernel's does: in no order, counters going on.
type table struct {
	entries  map[netip.Prefix]loader.Entry
	capacity int
	puts     int
}

func newTable() *table {
	return &table{entries: make(map[netip.Prefix]loader.Entry), capacity: 1 << 20}
}

func (t *table) Put(entries ...loader.Entry) error {
	for _, e := range entries {
		old, exists := t.entries[e.Prefix]
		if !exists && len(t.entries) >= t.capacity {
			return fmt.Errorf("test table: %w", loader.ErrFull)
		}
		e.Attempts, e.Dropped = old.Attempts, old.Dropped
		t.entries[e.Prefix] = e
		t.puts++
	}
	return nil
}

func (t *table) Delete(prefixes ...netip.Prefix) error {
	for _, p := range prefixes {
		delete(t.entries, p)
	}
	return nil
}

func (t *table) Entries() iter.Seq2[loader.Entry, error] {
	return func(yield func(loader.Entry, error) bool) {
		for _, e := range t.entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (t *table) Empty() bool { return len(t.entries) == 0 }

func (t *table) Compare(pieces iter.Seq[[]loader.Entry], answer func([]loader.Entry)) (iter.Seq2[loader.Entry, error], error) {
	asked := make(map[netip.Prefix]bool)
	for piece := range pieces {
		have := make([]loader.Entry, len(piece))
		for i := range piece {
			asked[piece[i].Prefix] = true
			have[i] = t.entries[piece[i].Prefix]
		}
		answer(have)
	}
	return func(yield func(loader.Entry, error) bool) {
		for e, err := range t.Entries() {
			if !asked[e.Prefix] && !yield(e, err) {
				return
			}
		}
	}, nil
}

func (t *table) actions() map[netip.Prefix]loader.Action {
	out := make(map[netip.Prefix]loader.Action)
	for p, e := range t.entries {
		out[p] = e.Action
	}
	return out
}

func mustNew(t *testing.T, table Table, destroy func([]netip.Prefix, []uint16) (int, error)) *Enforcer {
	t.Helper()
	o := DefaultOptions()
	o.Table = table
	o.Ports = []uint16{25}
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	if o.Destroy = destroy; destroy == nil {
		o.Destroy = func([]netip.Prefix, []uint16) (int, error) { return 0, nil }
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func decision(p string, a policy.Action) *policy.Decision {
	d := &policy.Decision{Target: policy.Target{Prefix: prefix(p)}, Action: a, Since: now, Until: now.Add(time.Hour)}
	if a == policy.Limit {
		d.Rate = policy.Rate{Every: 10 * time.Second, Burst: 3}
	}
	return d
}

func change(p string, a policy.Action) policy.Change {
	return policy.Change{Prefix: prefix(p), Decision: decision(p, a)}
}

func mustApply(t *testing.T, e *Enforcer, changes ...policy.Change) {
	t.Helper()
	if err := e.Apply(changes); err != nil {
		t.Fatal(err)
	}
}

func TestApply(t *testing.T) {
	table := newTable()
	e := mustNew(t, table, nil)
	mustApply(t, e,
		change("192.0.2.1/32", policy.Drop), change("192.0.2.2/32", policy.Limit),
		change("2001:db8::/64", policy.Tarpit), change("198.51.100.0/24", policy.Allow))
	want := map[netip.Prefix]loader.Entry{
		prefix("192.0.2.1/32"):    {Prefix: prefix("192.0.2.1/32"), Action: loader.ActionDrop, Expires: now.Add(time.Hour)},
		prefix("192.0.2.2/32"):    {Prefix: prefix("192.0.2.2/32"), Action: loader.ActionLimit, Expires: now.Add(time.Hour), Every: 10 * time.Second, Burst: 3},
		prefix("2001:db8::/64"):   {Prefix: prefix("2001:db8::/64"), Action: loader.ActionTarpit, Expires: now.Add(time.Hour)},
		prefix("198.51.100.0/24"): {Prefix: prefix("198.51.100.0/24"), Action: loader.ActionAllow, Expires: now.Add(time.Hour)},
	}
	if !maps.Equal(table.entries, want) {
		t.Errorf("got %v\nwant %v", table.entries, want)
	}
	mustApply(t, e, policy.Change{Prefix: prefix("192.0.2.1/32")}, change("192.0.2.2/32", policy.Drop))
	if len(table.entries) != 3 || table.entries[prefix("192.0.2.2/32")].Action != loader.ActionDrop {
		t.Errorf("after release and change: %v", table.entries)
	}
	pinned := *decision("192.0.2.8/32", policy.Drop)
	pinned.Pinned = true
	mustApply(t, e, policy.Change{Prefix: pinned.Prefix, Decision: &pinned})
	if !table.entries[pinned.Prefix].Keep || table.entries[prefix("192.0.2.2/32")].Keep {
		t.Errorf("a pin is kept in a full table, and nothing else: %v", table.entries)
	}
	mustApply(t, e, policy.Change{Prefix: pinned.Prefix})
	bad := *decision("192.0.2.9/32", policy.Guard)
	err := e.Apply([]policy.Change{{Prefix: bad.Prefix, Decision: &bad}, change("192.0.2.10/32", policy.Drop)})
	if _, done := table.entries[prefix("192.0.2.10/32")]; err == nil || !done {
		t.Errorf("one impossible decision: error %v, the other applied %t", err, done)
	}
}

func TestObserveDoesNothing(t *testing.T) {
	var e *Enforcer
	mustApply(t, e, change("192.0.2.1/32", policy.Drop))
	if r, err := e.Reconcile(slices.Values([]*policy.Decision{decision("192.0.2.1/32", policy.Drop)})); r != (Report{}) || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	e.SetPorts(nil)
	e.Run(t.Context())
	if e.Stats() != (Stats{}) {
		t.Error("statistics of nothing")
	}
}

func TestReconcile(t *testing.T) {
	table := newTable()
	e := mustNew(t, table, nil)
	ended := *decision("192.0.2.3/32", policy.Drop)
	ended.Until = now.Add(-time.Hour)
	for _, have := range []*policy.Decision{
		decision("192.0.2.1/32", policy.Drop), decision("192.0.2.2/32", policy.Limit), &ended, decision("192.0.2.4/32", policy.Drop),
	} {
		entry, _ := entryOf(have, time.Time{})
		entry.Expires = entry.Expires.Add(40 * time.Millisecond) // as read back
		table.entries[entry.Prefix] = entry
	}
	counted := table.entries[prefix("192.0.2.4/32")]
	counted.Dropped, counted.Attempts = 70, 7
	table.entries[counted.Prefix] = counted
	longer := decision("192.0.2.4/32", policy.Drop)
	longer.Until = now.Add(2 * time.Hour)
	table.puts = 0

	report, err := e.Reconcile(slices.Values([]*policy.Decision{
		decision("192.0.2.1/32", policy.Drop), longer, decision("2001:db8::/32", policy.Drop),
	}))
	if want := (Report{Kept: 1, Put: 2, Deleted: 2}); err != nil || report != want || table.puts != 2 {
		t.Errorf("report %+v, %v, %d puts; want %+v", report, err, table.puts, want)
	}
	after := table.entries[prefix("192.0.2.4/32")]
	if after.Dropped != 70 || after.Attempts != 7 || !after.Expires.Equal(longer.Until) {
		t.Errorf("counters or end after reconciling: %+v", after)
	}
	if len(table.entries) != 3 {
		t.Errorf("%v", table.entries)
	}
}

func TestReconcileFindsRoom(t *testing.T) {
	table := newTable()
	e := mustNew(t, table, nil)
	mustApply(t, e, change("192.0.2.1/32", policy.Drop), change("192.0.2.2/32", policy.Drop))
	table.capacity = 2
	if err := e.Apply([]policy.Change{change("192.0.2.3/32", policy.Drop)}); !errors.Is(err, loader.ErrFull) {
		t.Fatalf("full table: %v", err)
	}
	inForce := []*policy.Decision{decision("192.0.2.1/32", policy.Drop), decision("192.0.2.3/32", policy.Drop)}
	if _, err := e.Reconcile(slices.Values(inForce)); err != nil || len(table.entries) != 2 {
		t.Errorf("%v, %v", err, table.entries)
	}
}

// TestModel applies random changes and reconciles now and then; the table
// must always hold what a plain map holds.
func TestModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table := newTable()
	e := mustNew(t, table, nil)
	model := map[netip.Prefix]*policy.Decision{}
	actions := []policy.Action{policy.Allow, policy.Limit, policy.Tarpit, policy.Drop}
	for step := range 2000 {
		var changes []policy.Change
		for range random.IntN(4) {
			p := fmt.Sprintf("192.0.2.%d/32", random.IntN(40))
			if random.IntN(3) == 0 {
				delete(model, prefix(p))
				changes = append(changes, policy.Change{Prefix: prefix(p)})
				continue
			}
			c := change(p, actions[random.IntN(len(actions))])
			model[c.Prefix] = c.Decision
			changes = append(changes, c)
		}
		switch random.IntN(20) {
		case 0: // a crash: the changes never reached the table
			if _, err := e.Reconcile(maps.Values(model)); err != nil {
				t.Fatal(err)
			}
		default:
			mustApply(t, e, changes...)
		}
		want := map[netip.Prefix]loader.Action{}
		for p, d := range model {
			entry, _ := entryOf(d, time.Time{})
			want[p] = entry.Action
		}
		if got := table.actions(); !maps.Equal(got, want) {
			t.Fatalf("step %d: got %v, want %v", step, got, want)
		}
	}
}

func TestSessionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls [][]netip.Prefix
		var ports [][]uint16
		e := mustNew(t, newTable(), func(p []netip.Prefix, on []uint16) (int, error) {
			calls, ports = append(calls, p), append(ports, on)
			return len(p), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Run(ctx); close(done) }()
		mustApply(t, e, change("192.0.2.1/32", policy.Drop), change("192.0.2.2/32", policy.Limit))
		synctest.Wait()
		e.SetPorts([]uint16{25, 587})
		mustApply(t, e, change("192.0.2.0/30", policy.Tarpit)) // the limited one stays
		synctest.Wait()
		cancel()
		<-done
		want := [][]netip.Prefix{{prefix("192.0.2.1/32")}, {prefix("192.0.2.0/31"), prefix("192.0.2.3/32")}}
		if !slices.EqualFunc(calls, want, slices.Equal) {
			t.Errorf("closed %v, want %v", calls, want)
		}
		if s := e.Stats(); s.Closed != 3 || s.Skipped != 0 || s.Waiting != 0 || len(ports[1]) != 2 {
			t.Errorf("%+v, ports %v", s, ports)
		}
	})
}

func TestSessionsQueueIsBounded(t *testing.T) {
	e := mustNew(t, newTable(), nil)
	e.o.Queue = 3
	mustApply(t, e, change("192.0.2.1/32", policy.Drop), change("192.0.2.2/32", policy.Drop))
	mustApply(t, e, change("192.0.2.3/32", policy.Drop), change("192.0.2.4/32", policy.Drop))
	if s := e.Stats(); s.Waiting != 3 || s.Skipped != 1 {
		t.Errorf("%+v", s)
	}
}

func TestWithout(t *testing.T) {
	for _, c := range []struct {
		p     string
		holes []string
		want  []string
	}{
		{"10.0.0.0/8", nil, []string{"10.0.0.0/8"}},
		{"10.0.0.0/8", []string{"11.0.0.0/16"}, []string{"10.0.0.0/8"}},
		{"10.0.0.0/30", []string{"10.0.0.1/32"}, []string{"10.0.0.0/32", "10.0.0.2/31"}},
		{"10.0.0.0/30", []string{"10.0.0.0/31", "10.0.0.0/32"}, []string{"10.0.0.2/31"}},
		{"10.0.0.0/30", []string{"10.0.0.0/29"}, nil},
		{"2001:db8::/62", []string{"2001:db8:0:3::/64"}, []string{"2001:db8::/63", "2001:db8:0:2::/64"}},
		{"0.0.0.0/0", []string{"128.0.0.0/1"}, []string{"0.0.0.0/1"}},
	} {
		var holes []netip.Prefix
		for _, h := range c.holes {
			holes = append(holes, prefix(h))
		}
		var got []string
		for _, p := range without(prefix(c.p), holes) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s without %v: %v, want %v", c.p, c.holes, got, c.want)
		}
	}
}
