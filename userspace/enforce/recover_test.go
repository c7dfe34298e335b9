package enforce

import (
	"errors"
	"iter"
	"reflect"
	"testing"
	"time"

	"weir/loader"
	"weir/policy"
)

func TestRecover(t *testing.T) {
	table := newTable()
	e := mustNew(t, table, nil)
	limit, ended, known, wide := decision("192.0.2.1/32", policy.Limit), decision("192.0.2.2/32", policy.Drop), decision("192.0.2.3/32", policy.Drop), decision("2001:db8::/32", policy.Drop)
	tarpit, bytes := decision("192.0.2.5/32", policy.Tarpit), decision("192.0.2.6/32", policy.Limit)
	bytes.Rate = policy.Rate{Bytes: 64 << 10}
	ended.Until, wide.Until = now, time.Time{}
	allow := decision("198.51.100.0/24", policy.Allow)
	allow.Until = time.Time{}
	for _, d := range []*policy.Decision{limit, ended, known, wide, allow, tarpit, bytes} {
		entry, _ := entryOf(d, time.Time{})
		if !entry.Expires.IsZero() {
			entry.Expires = entry.Expires.Add(-40 * time.Millisecond) // as read back
		}
		table.entries[entry.Prefix] = entry
	}
	strange := prefix("192.0.2.4/32")
	table.entries[strange] = loader.Entry{Prefix: strange, Action: 99}

	for d, err := range e.Recover(now, func(d *policy.Decision) bool { return d.Prefix == known.Prefix }) {
		if err != nil {
			t.Fatal(err)
		}
		var was *policy.Decision
		for _, w := range []*policy.Decision{limit, wide, allow, tarpit, bytes} {
			if w.Prefix == d.Prefix {
				was = w
			}
		}
		if was == nil {
			t.Errorf("recovered %+v", d)
			continue
		}
		want := policy.Decision{Target: was.Target, Action: was.Action, Rate: was.Rate, Since: now, Until: was.Until, Reason: recoveredReason}
		if !was.Until.IsZero() {
			want.Rule = RecoveredRule
		} else {
			want.Pinned, want.By = true, RecoveredBy
		}
		if !reflect.DeepEqual(d, want) {
			t.Errorf("got %+v\nwant %+v", d, want)
		}
		delete(table.entries, d.Prefix)
	}
	if len(table.entries) != 3 { // ended, known, strange
		t.Errorf("not recovered: %v", table.entries)
	}

	var nobody *Enforcer
	for d := range nobody.Recover(now, nil) {
		t.Errorf("mode observe recovers %+v", d)
	}
	for _, err := range mustNew(t, unreadable{table}, nil).Recover(now, nil) {
		if !errors.Is(err, errUnreadable) {
			t.Errorf("unreadable table: %v", err)
		}
	}
}

var errUnreadable = errors.New("unreadable")

type unreadable struct{ *table }

func (unreadable) Entries() iter.Seq2[loader.Entry, error] {
	return func(yield func(loader.Entry, error) bool) { yield(loader.Entry{}, errUnreadable) }
}
