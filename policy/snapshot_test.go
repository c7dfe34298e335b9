package policy

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"time"
)

// TestSnapshotContinues cuts streams anywhere, more than once, and compares
// with the run that was not cut: decisions, reasons, evidence, and what the
// two would write at the end.
func TestSnapshotContinues(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 4))
		limits := wide()
		if seed%2 == 0 {
			limits = tight()
		}
		rules, events := randomRules(rng), crowd(rng, 1500)
		whole := mustEngine(t, rules, limits)
		want := observeAll(whole, events)

		e := mustEngine(t, rules, limits)
		var got []Decision
		for i := range events {
			if rng.IntN(100) == 0 {
				data := snapshot(e)
				e = mustEngine(t, rules, limits)
				if err := e.UnmarshalBinary(data); err != nil {
					t.Fatal(err)
				}
				checkIntact(t, e)
				if again := snapshot(e); !bytes.Equal(data, again) {
					t.Fatalf("seed %d: %d bytes written, %d after restoring", seed, len(data), len(again))
				}
			}
			got = e.Observe(&events[i], got)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %d decisions, want %d", seed, len(got), len(want))
		}
		if !bytes.Equal(snapshot(e), snapshot(whole)) {
			t.Fatalf("seed %d: the states differ at the end", seed)
		}
	}
}

func TestSnapshotIntoOtherRulesAndLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	rules := randomRules(rng)
	e := mustEngine(t, rules, wide())
	observeAll(e, crowd(rng, 3000))
	data := snapshot(e)
	for range 50 {
		other := mustEngine(t, append(randomRules(rng)[:1], rules[1:]...), tight())
		if err := other.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		checkIntact(t, other)
		observeAll(other, crowd(rng, 500))
		checkIntact(t, other)
	}
}

func TestSnapshotRefusesDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	rules := randomRules(rng)
	e := mustEngine(t, rules, tight())
	observeAll(e, crowd(rng, 500))
	data := snapshot(e)
	before := snapshot(e)
	for i := range data {
		for _, damaged := range [][]byte{data[:i], append(bytes.Clone(data[:i]), append([]byte{data[i] ^ 0x10}, data[i+1:]...)...)} {
			if err := e.UnmarshalBinary(damaged); !errors.Is(err, ErrSnapshot) {
				t.Fatalf("damage at %d: %v", i, err)
			}
		}
	}
	if !bytes.Equal(before, snapshot(e)) {
		t.Error("a refused snapshot left traces")
	}
}

// TestSnapshotOfBefore reads what the version before wrote of 400 events.
func TestSnapshotOfBefore(t *testing.T) {
	data, err := os.ReadFile("testdata/snapshot-2")
	if err != nil {
		t.Fatal(err)
	}
	e := mustEngine(t, DefaultRules(), DefaultLimits())
	if err := e.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	checkIntact(t, e)
	if s := e.Stats(); s.Sources < 10 || s.Users < 5 || s.Observations < 100 {
		t.Errorf("it held %+v", s)
	}
	observeAll(e, crowd(rand.New(rand.NewPCG(1, 2)), 200))
	checkIntact(t, e)
}

// FuzzRestore feeds bodies past the checksum: whatever they say, the engine
// refuses them or is intact afterwards.
func FuzzRestore(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 9))
	rules := DefaultRules()
	for i := range rules {
		rules[i].Threshold = min(rules[i].Threshold, 8)
	}
	for range 4 {
		e := mustEngine(f, rules, tight())
		observeAll(e, crowd(rng, 20))
		data := snapshot(e)
		f.Add(data[len(snapshotMagic) : len(data)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e := mustEngine(t, rules, tight())
		if e.restore(body, false) != nil && e.restore(body, true) != nil {
			return
		}
		checkIntact(t, e)
		observeAll(e, crowd(rand.New(rand.NewPCG(1, 1)), 200))
		checkIntact(t, e)
	})
}

func BenchmarkSnapshot(b *testing.B) {
	e := mustEngine(b, DefaultRules(), DefaultLimits())
	at := dawn
	for i, ev := range benchmarkEvents(1<<20, 200_000, 50_000) {
		ev.Time = at.Add(time.Duration(i) * time.Second)
		e.Observe(&ev, nil)
	}
	for b.Loop() {
		data := snapshot(e)
		b.ReportMetric(float64(len(data)), "bytes")
		if err := e.UnmarshalBinary(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(e.Stats().Observations), "observations")
}
