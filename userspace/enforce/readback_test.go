package enforce

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/loader"
	"weir/policy"
)

func (t *table) Get(p netip.Prefix) (loader.Entry, bool, error) {
	e, found := t.entries[p]
	return e, found, nil
}

func (t *table) Sample(n int, pick func(int) int) (sample []loader.Entry, err error) {
	var all []loader.Entry
	for _, e := range t.entries {
		all = append(all, e)
	}
	for range min(n, 1000*len(all)) {
		sample = append(sample, all[pick(len(all))])
	}
	return sample, nil
}

// deaf is a table that cannot be read.
type deaf struct{ *table }

func (deaf) Get(netip.Prefix) (loader.Entry, bool, error) {
	return loader.Entry{}, false, errors.New("gone")
}

func TestReadBack(t *testing.T) {
	ledger, table := policy.NewLedger(), newTable()
	e := mustNew(t, table, nil)
	look := func() string {
		t.Helper()
		differs, err := e.ReadBack(table, ledger, 500, rand.New(rand.NewPCG(5, 6)).IntN)
		if err != nil {
			t.Fatal(err)
		}
		return differs
	}
	if got := look(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	for i := range byte(20) {
		d := decision("192.0.2.0/32", policy.Drop)
		d.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, i}), 32)
		mustApply(t, e, ledger.Put(now, *d)...)
	}
	// What the table does not take is no difference.
	mustApply(t, e, ledger.Put(now, *decision("192.0.0.8/32", policy.Drop))...)
	delete(table.entries, prefix("192.0.0.8/32"))
	if got := look(); got != "" {
		t.Errorf("as it was left: %q", got)
	}
	if r, err := e.Reconcile(ledger.InForce()); r.Put != 0 || r.Deleted != 0 || err != nil {
		t.Errorf("reconciled though nothing differs: %+v, %v", r, err)
	}

	kept := table.entries[prefix("192.0.2.5/32")]
	delete(table.entries, kept.Prefix)
	if got := look(); !strings.Contains(got, "lacks 192.0.2.5/32") {
		t.Errorf("one is missing: %q", got)
	}
	for name, change := range map[string]func(*loader.Entry){
		"action": func(e *loader.Entry) { e.Action = loader.ActionAllow },
		"end":    func(e *loader.Entry) { e.Expires = e.Expires.Add(-time.Minute) },
	} {
		changed := kept
		change(&changed)
		table.entries[kept.Prefix] = changed
		if got := look(); !strings.Contains(got, "something else of 192.0.2.5/32") {
			t.Errorf("another %s: %q", name, got)
		}
	}
	table.entries[kept.Prefix] = kept
	table.entries[prefix("198.51.100.1/32")] = loader.Entry{Prefix: prefix("198.51.100.1/32"), Action: loader.ActionDrop}
	if got := look(); !strings.Contains(got, "198.51.100.1/32, which nobody decided") {
		t.Errorf("one too many: %q", got)
	}
	if r, err := e.Reconcile(ledger.InForce()); r.Deleted != 1 || err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if got := look(); got != "" {
		t.Errorf("reconciled: %q", got)
	}
	if _, err := e.ReadBack(deaf{table}, ledger, 5, rand.IntN); err == nil {
		t.Error("no error from a table that cannot be read")
	}
	if differs, err := (*Enforcer)(nil).ReadBack(nil, nil, 5, nil); differs != "" || err != nil {
		t.Errorf("in mode observe: %q, %v", differs, err)
	}
}
