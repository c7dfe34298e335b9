package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// many returns n entries of different sources, half of each family.
func many(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i].Action = ActionDrop
		// An odd multiplier spreads the index over all values, once each.
		if spread := uint32(i) * 0x9e3779b1; i%2 == 0 {
			entries[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, spread))), 32)
		} else {
			entries[i].Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 4: byte(spread >> 24), 5: byte(spread >> 16), 6: byte(spread >> 8), 7: byte(spread)}), 64)
		}
	}
	return entries
}

func collect(t testing.TB, d *Datapath) map[netip.Prefix]Entry {
	t.Helper()
	all := make(map[netip.Prefix]Entry)
	for e, err := range d.Entries() {
		mustDo(t, err)
		all[e.Prefix] = e
	}
	return all
}

func fillOf(d *Datapath, table string) Fill {
	fills := must(d.Fill())
	return fills[slices.IndexFunc(fills, func(f Fill) bool { return f.Table == table })]
}

// sameEntry reports whether got is what reading want back gives: the ends of
// sources are rounded up.
func sameEntry(got, want Entry) bool {
	late := got.Expires.Sub(want.Expires)
	if late < 0 || late > endUnit+time.Millisecond || got.Expires.IsZero() != want.Expires.IsZero() {
		return false
	}
	got.Expires = want.Expires
	return got == want
}

func TestEntriesRoundTrip(t *testing.T) {
	s := mustSimulate(t, testOptions(t))
	end := s.wall().Add(90 * time.Minute)
	want := []Entry{
		{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop, Expires: end},
		{Prefix: prefix("192.0.2.2/32"), Action: ActionAllow},
		{Prefix: prefix("192.0.2.3/32"), Action: ActionLimit, Every: 7 * time.Second, Burst: 3, Expires: end},
		{Prefix: prefix("10.0.0.0/8"), Action: ActionDrop},
		{Prefix: prefix("0.0.0.0/0"), Action: ActionLimit, Every: time.Millisecond, Burst: 1},
		{Prefix: prefix("2001:db8:1:2::/64"), Action: ActionDrop, Expires: end},
		{Prefix: prefix("2001:db8:1::/48"), Action: ActionAllow, Expires: end},
		{Prefix: prefix("2001:db8:1:fffe::/63"), Action: ActionDrop},
		{Prefix: prefix("::/0"), Action: ActionAllow},
	}
	mustDo(t, s.Put(want...))
	all := collect(t, s.Datapath)
	if len(all) != len(want) {
		t.Errorf("%d entries, want %d", len(all), len(want))
	}
	for _, w := range want {
		if got := all[w.Prefix]; !sameEntry(got, w) {
			t.Errorf("Entries: %+v, want %+v", got, w)
		}
		got, found, err := s.Get(w.Prefix)
		if err != nil || !found || !sameEntry(got, w) {
			t.Errorf("Get: %+v, %t, %v, want %+v", got, found, err, w)
		}
	}
	if _, found, err := s.Get(prefix("10.0.0.0/9")); found || err != nil {
		t.Errorf("Get of an absent prefix: %t, %v", found, err)
	}

	for _, w := range want {
		mustDo(t, s.Delete(prefix("192.0.2.77/32"), w.Prefix, prefix("172.16.0.0/12")))
		if _, found, err := s.Get(w.Prefix); found || err != nil {
			t.Errorf("%s is still there after Delete (%v)", w.Prefix, err)
		}
	}
	if rest := collect(t, s.Datapath); len(rest) != 0 {
		t.Errorf("left after Delete: %v", rest)
	}
	for _, f := range must(s.Fill()) {
		if f.Used != 0 || f.Refused != 0 || f.Capacity != 1<<10 {
			t.Errorf("fill after Delete: %+v", f)
		}
	}
}

func TestHostBitsAreMasked(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(
		Entry{Prefix: prefix("192.0.2.99/24"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8:1:2:3::4/64"), Action: ActionDrop},
		Entry{Prefix: prefix("2001:db8:1:2:3::4/56"), Action: ActionDrop},
	))
	for _, p := range []string{"192.0.2.0/24", "2001:db8:1:2::/64", "2001:db8:1::/56"} {
		if _, found, err := d.Get(prefix(p)); !found || err != nil {
			t.Errorf("%s: %t, %v", p, found, err)
		}
	}
}

// Converted twice, the same wall time gives kernel times that differ a
// little. Entries that say nothing new must not be written for that: writing
// can lose a count.
func TestPutAgainKeepsCountersAndEnd(t *testing.T) {
	o := testOptions(t)
	s := mustSimulate(t, o)
	e := Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop, Expires: s.wall().Add(time.Hour)}
	wide := Entry{Prefix: prefix("198.51.100.0/24"), Action: ActionDrop}
	mustDo(t, s.Put(e, wide))
	for range 3 {
		run(t, s.Datapath, syn4("192.0.2.1"))
		run(t, s.Datapath, syn4("198.51.100.3"))
	}
	s.now += 1000 // the clocks are not read at quite the same time
	mustDo(t, s.Put(e, wide))
	for _, want := range []Entry{e, wide} {
		want.Attempts, want.Dropped = 3, 3
		if got, _, err := s.Get(want.Prefix); err != nil || !sameEntry(got, want) {
			t.Errorf("after putting it again: %+v, %v", got, err)
		}
	}
	wide.Action, e.Expires = ActionAllow, time.Time{}
	mustDo(t, s.Put(wide, e))
	for _, p := range []netip.Prefix{e.Prefix, wide.Prefix} {
		if got, _, err := s.Get(p); err != nil || got.Attempts != 3 || got.Dropped != 3 || !got.Expires.IsZero() {
			t.Errorf("after a change: %+v, %v", got, err)
		}
	}
}

func TestManyEntries(t *testing.T) {
	const n = 100_000
	o := testOptions(t)
	o.Capacity = n
	d := mustOpen(t, o)
	entries := many(n)
	mustDo(t, d.Put(entries...))
	all := collect(t, d)
	for _, e := range entries {
		if all[e.Prefix] != e {
			t.Fatalf("got %+v, want %+v", all[e.Prefix], e)
		}
	}
	if len(all) != n || fillOf(d, "IPv4 sources").Used != n/2 || fillOf(d, "IPv6 sources").Used != n/2 {
		t.Fatalf("%d entries, fill %+v, want %d", len(all), must(d.Fill()), n)
	}

	// Again, with one that has been counted, among new ones and with
	// repetitions: counters go on, nothing is counted twice.
	run(t, d, ip4{src: entries[0].Prefix.Addr().String()}.wrap(tcp{}.bytes()))
	mustDo(t, d.Put(append(entries, many(n + 100)[n-100:]...)...))
	if e, _, _ := d.Get(entries[0].Prefix); e.Dropped != 1 {
		t.Errorf("after putting all again: %+v", e)
	}
	if used := fillOf(d, "IPv4 sources").Used; used != n/2+50 {
		t.Errorf("%d used, want %d", used, n/2+50)
	}

	var prefixes []netip.Prefix
	for _, e := range many(n + 100) {
		prefixes = append(prefixes, e.Prefix)
	}
	mustDo(t, d.Delete(prefixes...))
	if rest := collect(t, d); len(rest) != 0 {
		t.Errorf("%d left after Delete", len(rest))
	}
}

func TestFullTable(t *testing.T) {
	o := testOptions(t)
	for _, n := range []int{100, 3 * batchSize} {
		o.Capacity = n / 2
		d := mustOpen(t, o)
		entries := many(n)
		mustDo(t, d.Put(entries...))
		run(t, d, syn4(entries[0].Prefix.Addr().String()))

		// Existing ones are served though new ones are refused.
		more := many(2 * n)[n:]
		again := entries[0]
		again.Action = ActionAllow
		err := d.Put(append(more, again)...)
		if !errors.Is(err, ErrFull) {
			t.Errorf("put into a full table: %v, want ErrFull", err)
		}
		if want := fmt.Sprintf("IPv4 sources: all %d entries are taken", n/2); err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("put into a full table: %v, want %q", err, want)
		}
		if e, _, _ := d.Get(again.Prefix); e.Action != ActionAllow || e.Dropped != 1 {
			t.Errorf("existing entry in a full table: %+v", e)
		}
		for _, table := range []string{"IPv4 sources", "IPv6 sources"} {
			if f := fillOf(d, table); f.Used != n/2 || f.Refused != uint64(n/2) {
				t.Errorf("fill: %+v, want %d used and as many refused", f, n/2)
			}
		}
		mustDo(t, d.Delete(entries[2].Prefix))
		mustDo(t, d.Put(more[0]))

		for i := range n {
			p := must(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}).Prefix(24))
			err = d.Put(Entry{Prefix: p, Action: ActionDrop})
			if i < n/2 {
				mustDo(t, err)
			}
		}
		if !errors.Is(err, ErrFull) {
			t.Errorf("put into full prefixes: %v, want ErrFull", err)
		}
		mustDo(t, d.Close())
	}
}

// What comes and goes while others are read must not disturb them.
func TestEntriesWhileChanging(t *testing.T) {
	o := testOptions(t)
	o.Capacity = 1 << 16
	d := mustOpen(t, o)
	lasting := many(20_000)
	mustDo(t, d.Put(lasting...))
	passing := many(22_000)[20_000:]
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for {
			for _, e := range passing {
				select {
				case <-stop:
					return
				default:
				}
				if err := errors.Join(d.Put(e), d.Delete(e.Prefix)); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 3 {
		all := collect(t, d)
		for _, e := range lasting {
			if all[e.Prefix] != e {
				t.Fatalf("missing while others change: %+v", e)
			}
		}
	}
	close(stop)
	changing.Wait()

	// Deleting by the one who reads.
	for e, err := range d.Entries() {
		mustDo(t, err)
		mustDo(t, d.Delete(e.Prefix))
	}
	if rest := collect(t, d); len(rest) != 0 {
		t.Errorf("%d left after deleting while reading", len(rest))
	}
}
