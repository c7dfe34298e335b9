package policy

import (
	"net/netip"
	"testing"
	"time"
)

// TestDroppedSourceCountsForNoUser: what a source does that is dropped already
// says nothing more of the user, whose other sources would pay for it.
func TestDroppedSourceCountsForNoUser(t *testing.T) {
	e, err := NewEngine([]Rule{
		{Name: "once", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureEvents, Threshold: 1, Within: time.Hour, Action: Drop, For: day},
		{Name: "many", Events: []Kind{Message}, Per: PerUser, Measure: MeasureRecipients, Threshold: 10, Within: time.Hour, Action: Drop, For: day},
	}, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, time.November, 16, 8, 0, 0, 0, time.UTC)
	tell := func(after time.Duration, kind Kind, source string, recipients int) []Decision {
		return e.Observe(&Event{Time: start.Add(after), Kind: kind, Source: netip.MustParseAddr(source), User: "anna@example.org", Recipients: recipients}, nil)
	}
	if out := tell(0, AuthFailure, "192.0.2.1", 0); len(out) != 1 {
		t.Fatalf("got %+v, want the source dropped", out)
	}
	if out := tell(time.Minute, Message, "192.0.2.1", 20); len(out) != 0 {
		t.Errorf("a dropped source brings its user under %+v", out)
	}
	if out := tell(2*time.Minute, Message, "192.0.2.2", 20); len(out) == 0 {
		t.Error("another source is not judged for its user")
	}
}
