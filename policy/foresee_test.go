package policy

import (
	"fmt"
	"testing"
	"time"
)

// TestForeseeChangesNothing plays a log to two engines with tables that are too
// small for it, to one of them in batches of all sizes that it foresees.
func TestForeseeChangesNothing(t *testing.T) {
	limits := Limits{Sources: 300, Users: 100, Observations: 2000}
	one, many := mustEngine(t, DefaultRules(), limits), mustEngine(t, DefaultRules(), limits)
	events := benchmarkEvents(60_000, 2_000, 400)
	at := time.Unix(1_700_000_000, 0)
	for i := range events {
		if i%7 == 0 {
			events[i].Kind, events[i].User = AuthFailure, fmt.Sprintf("NOBODY%d", i%1000)
		}
		if i%11 == 0 {
			events[i].User = ""
		}
		at = at.Add(3 * time.Second)
		events[i].Time = at
	}
	var alone, together []Decision
	for i := range events {
		alone = one.Observe(&events[i], alone)
	}
	for from, size := 0, 1; from < len(events); from, size = from+size, size%(2*Ahead)+1 {
		batch := events[from:min(from+size, len(events))]
		many.Foresee(batch)
		for i := range batch {
			together = many.Observe(&batch[i], together)
		}
	}
	if len(alone) == 0 || len(alone) != len(together) {
		t.Fatalf("%d decisions one by one, %d in batches", len(alone), len(together))
	}
	for i := range alone {
		if a, b := fmt.Sprint(alone[i]), fmt.Sprint(together[i]); a != b {
			t.Fatalf("decision %d one by one: %s\nin batches: %s", i, a, b)
		}
	}
}
