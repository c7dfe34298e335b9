package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// What is sampled is in force, and everything that is in force comes up
// sooner or later.
func TestSample(t *testing.T) {
	l, now := NewLedger(), time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	if got := l.Sample(5, rand.IntN); got != nil {
		t.Errorf("of an empty ledger: %v", got)
	}
	on := func(p string, a Action, until time.Time) Decision {
		return Decision{Target: Target{Prefix: netip.MustParsePrefix(p)}, Action: a, Since: now, Until: until}
	}
	want := make(map[netip.Prefix]bool)
	for i := range 50 {
		d := on(fmt.Sprintf("192.0.2.%d/32", i), Drop, now.Add(time.Hour))
		l.Put(now, d)
		want[d.Prefix] = true
	}
	endless := on("203.0.113.0/24", Drop, time.Time{})
	endless.Pinned = true
	l.Put(now, endless)
	want[endless.Prefix] = true
	silenced := netip.MustParsePrefix("192.0.2.7/32")
	l.SetAllow([]netip.Prefix{silenced})
	delete(want, silenced)
	l.Put(now, on("192.0.2.8/32", Drop, now.Add(2*time.Hour))) // the one before stays behind in the heap
	l.Put(now, Decision{Target: Target{User: "carol"}, Action: Guard, Since: now, Until: now.Add(time.Hour)})

	seen := make(map[netip.Prefix]bool)
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		for _, d := range l.Sample(20, random.IntN) {
			if !want[d.Prefix] || l.InForceOn(d.Prefix) != d {
				t.Fatalf("sampled %v, which is not in force", d.Target)
			}
			seen[d.Prefix] = true
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d came up, want %d", len(seen), len(want))
	}
	if l.InForceOn(netip.MustParsePrefix("198.51.100.0/24")) != nil || l.InForceOn(silenced).Action != Allow {
		t.Error("InForceOn tells something else than is in force")
	}
}
