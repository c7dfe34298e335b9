package policy

import (
	"net/netip"
	"testing"
	"time"
)

// A source grows suspicious with its failures, and trusted with its successes;
// a user is at home where it has succeeded for long.
func TestRegard(t *testing.T) {
	e, err := NewEngine([]Rule{
		{
			Name: "failures", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents, Threshold: 10,
			Within: 10 * time.Minute, SpareKnown: 30 * time.Minute, Action: Drop, For: time.Hour,
		},
		{
			Name: "sources", Events: []Kind{AuthSuccess}, Per: PerUser, Measure: MeasureSources, Threshold: 12,
			Within: time.Hour, SpareKnown: 6 * time.Hour, Action: Drop, For: time.Hour,
		},
	}, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	guesser, home := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.7")
	see := func(kind Kind, addr netip.Addr, user string, after time.Duration) {
		e.Observe(&Event{Time: start.Add(after), Kind: kind, Source: addr, User: user, Server: "dovecot"}, nil)
	}
	var last float64
	for n := range 9 {
		see(AuthFailure, guesser, "carol", time.Duration(n)*time.Second)
		r := e.Regard(guesser, "carol", start.Add(10*time.Second))
		if r.Trusted || r.Home || r.Suspicion < last || n > 0 && r.Suspicion == 0 {
			t.Errorf("after %d failures: %+v", n+1, r)
		}
		last = r.Suspicion
	}
	if last < 0.5 || last > 1 {
		t.Errorf("near the threshold suspicion is %v", last)
	}
	if r := e.Regard(guesser, "carol", start.Add(30*24*time.Hour)); r.Suspicion != 0 {
		t.Errorf("a month later: %+v", r)
	}
	for n := range 8 {
		see(AuthSuccess, home, "Carol", time.Duration(n)*time.Hour)
	}
	if r := e.Regard(home, "carol", start.Add(8*time.Hour)); !r.Home || !r.Trusted || r.Suspicion != 0 {
		t.Errorf("at home: %+v", r)
	}
	if r := e.Regard(home, "dave", start.Add(8*time.Hour)); r.Home || !r.Trusted {
		t.Errorf("somebody else at carol's home: %+v", r)
	}
	if r := e.Regard(guesser, "", start); r.Home || r.Trusted {
		t.Errorf("nobody: %+v", r)
	}
}
