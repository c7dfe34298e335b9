package loader

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// Every prefix comes up once in a round, whatever else stands in the tables.
func TestSampleWalksPrefixes(t *testing.T) {
	o := testOptions(t)
	o.Capacity = 2 * walkRows
	d := mustOpen(t, o)
	want := make(map[netip.Prefix]bool)
	var all []Entry
	for i := range walkRows + walkRows/2 {
		for _, p := range []string{fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), fmt.Sprintf("2001:db8:%x::/48", i)} {
			p := netip.MustParsePrefix(p)
			want[p], all = true, append(all, Entry{Prefix: p, Action: ActionDrop})
		}
	}
	mustDo(t, d.Put(all...))
	none := func(int) int { return 0 }
	for round := range 3 {
		seen := make(map[netip.Prefix]int)
		for range 2 { // the second ends a round
			for _, e := range must(d.Sample(0, none)) {
				if got, found, err := d.Get(e.Prefix); !want[e.Prefix] || err != nil || !found || !sameEntry(got, e) {
					t.Fatalf("sampled %+v, Get says %+v, %t, %v", e, got, found, err)
				}
				seen[e.Prefix]++
			}
		}
		for p := range want {
			if seen[p] != 1 {
				t.Errorf("round %d: %s came up %d times", round, p, seen[p])
			}
		}
	}

	// The row at which a walk stands may go.
	for range 200 {
		sample := must(d.Sample(0, none))
		for _, e := range sample[rand.IntN(len(sample)):] {
			mustDo(t, d.Delete(e.Prefix))
			delete(want, e.Prefix)
		}
		if len(want) == 0 {
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("these never came up again: %v", want)
	}
}

// A source in a table of prefixes has the program refuse it, and cannot be
// deleted by its name: it is removed where it is met.
func TestStray(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	for _, put := range []error{
		d.objects.Prefixes4.Put(&datapathPrefix4{Bits: 32, Addr: [4]byte{198, 51, 100, 1}}, &datapathEntry{Action: datapathAction(ActionDrop), Bits: 32}),
		d.objects.Prefixes6.Put(&datapathPrefix6{Bits: 64, Net: [8]byte{0x20, 1}}, &datapathEntry{Action: datapathAction(ActionDrop), Bits: 64}),
	} {
		mustDo(t, put)
	}
	if got := must(d.Sample(10, rand.IntN)); len(got) != 0 {
		t.Errorf("sampled %v", got)
	}
	if c := d.Checks(); c.Differences != 1 || c.Repaired != 1 || !strings.Contains(c.Difference, "198.51.100.1/32") {
		t.Errorf("checks say %+v", c)
	}
	for e, err := range d.Entries() {
		t.Errorf("left is %+v, %v", e, err)
	}
	must(d.Sample(10, rand.IntN))
	if c := d.Checks(); c.Differences != 1 {
		t.Errorf("found again: %+v", c)
	}
}

// What somebody else has put into a table is not missing when it is deleted.
func TestFillAfterDeletingWhatOthersPut(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	mustDo(t, d.Put(Entry{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Action: ActionDrop}))
	mustDo(t, d.objects.Prefixes4.Put(&datapathPrefix4{Bits: 24, Addr: [4]byte{198, 51, 100}}, &datapathEntry{Action: datapathAction(ActionDrop), Bits: 24}))
	mustDo(t, d.Delete(netip.MustParsePrefix("198.51.100.0/24")))
	if f := fillOf(d, "IPv4 prefixes"); f.Used != 1 {
		t.Errorf("fill %+v", f)
	}
}
