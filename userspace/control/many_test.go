package control_test

import (
	"runtime"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

// TestManyPins sends 200,000 pins and lists them again.
func TestManyPins(t *testing.T) {
	roundTrip(t, 200_000)
}

func roundTrip(t testing.TB, n int) {
	b := &controltest.Backend{}
	c, _ := mustServe(t, b)
	start, told := time.Now(), 0
	p, err := c.Pin(t.Context(), control.Terms{Action: policy.Drop, Reason: "botnet"}, manyLines(n, " # C2 list"), func(done int) {
		if done < told {
			t.Errorf("progress went from %d to %d", told, done)
		}
		told = done
	})
	if err != nil || p.Done != n || told != n || b.Len() != n {
		t.Fatalf("pinned %d (%d told, %d stand): %v", p.Done, told, b.Len(), err)
	}
	for _, size := range b.Chunks {
		if size > control.MaxChunk {
			t.Errorf("a chunk of %d", size)
		}
	}
	pinned := time.Since(start)
	start, rows := time.Now(), 0
	for _, err := range c.Decisions(t.Context(), control.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows++
	}
	listed := time.Since(start)
	if rows != n {
		t.Fatalf("listed %d of %d", rows, n)
	}
	start = time.Now()
	p, err = c.Unpin(t.Context(), manyLines(n, ""), "", nothing)
	if err != nil || p.Done != n || b.Len() != 0 {
		t.Fatalf("unpinned %+v (%d stand): %v", p, b.Len(), err)
	}
	t.Logf("%d: pinned in %v, listed in %v, unpinned in %v", n, pinned, listed, time.Since(start))
}

// BenchmarkMillion is the round trip of 1,000,000 pins, the backend's map
// included.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		roundTrip(b, 1_000_000)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB")
}
