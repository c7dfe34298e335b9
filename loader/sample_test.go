package loader

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// What is sampled stands in the table as Get tells it, and over time all does.
func TestSample(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	random := rand.New(rand.NewPCG(3, 4))
	if got := must(d.Sample(10, random.IntN)); len(got) != 0 {
		t.Errorf("of an empty table: %v", got)
	}
	mustDo(t, d.plantCanaries())
	want := make(map[netip.Prefix]bool)
	for i := range 200 {
		four, six := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i)})
		for _, p := range []netip.Prefix{netip.PrefixFrom(four, 32), netip.PrefixFrom(six, sourceBits6)} {
			mustDo(t, d.Put(Entry{Prefix: p, Action: ActionDrop}))
			want[p] = true
		}
	}
	seen := make(map[netip.Prefix]bool)
	for range 300 {
		for _, e := range must(d.Sample(50, random.IntN)) {
			if got, found, err := d.Get(e.Prefix); !want[e.Prefix] || err != nil || !found || !sameEntry(got, e) {
				t.Fatalf("sampled %+v, Get says %+v, %t, %v", e, got, found, err)
			}
			seen[e.Prefix] = true
		}
	}
	// What stands behind others in a bucket, or in the hash, comes up seldom or never.
	if len(seen) < len(want)/4 {
		t.Errorf("%d of %d came up", len(seen), len(want))
	}
}
