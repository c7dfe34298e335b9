package agent

import (
	"log/slog"
	"testing"
	"time"
)

// TestSteady sets a clock and sets it right again, sets it for good, and lets it
// be slewed.
func TestSteady(t *testing.T) {
	true_ := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	wrong := time.Duration(0) // of the wall clock
	s := &steady{log: slog.New(slog.DiscardHandler), last: true_}
	wants := func(what string, after, off time.Duration) {
		t.Helper()
		true_ = true_.Add(after)
		was := s.last
		elapsed := after
		got := s.at(true_.Add(wrong), func(later, earlier time.Time) time.Duration {
			if earlier.Equal(was) && later.Equal(true_.Add(wrong)) {
				return elapsed
			}
			return later.Sub(earlier)
		})
		if got.Sub(true_) != off {
			t.Errorf("%s: the time is off by %v, want %v", what, got.Sub(true_), off)
		}
	}
	const month = 30 * 24 * time.Hour
	wants("at first", time.Second, 0)
	wrong = month
	wants("set a month ahead", time.Second, 0)
	wants("and a minute later", time.Minute, 0)
	wrong = 0
	wants("set right", time.Second, 0)
	wants("and ten minutes later", 10*time.Minute, 0)
	wrong = -month
	wants("set a month back", time.Second, 0)
	wrong = month
	wants("and forth", time.Second, 0)
	wrong = 0
	wants("and right", time.Second, 0)
	wrong = time.Second
	wants("slewed", time.Second, time.Second)
	wrong = 3 * time.Hour
	wants("set for good", time.Second, time.Second)
	wants("not yet believed", stepTrust-time.Second, time.Second)
	wants("believed", time.Minute, 3*time.Hour)
	wants("for good", 24*time.Hour, 3*time.Hour)
}

// TestSteadyWithoutMonotonic follows a clock whose times have no monotonic
// reading, as those of other tests.
func TestSteadyWithoutMonotonic(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	s := newSteady(func() time.Time { return now }, slog.New(slog.DiscardHandler))
	for _, by := range []time.Duration{time.Hour, -2 * time.Hour, 1000 * time.Hour} {
		now = now.Add(by)
		if got := s.now(); !got.Equal(now) {
			t.Errorf("%v, want %v", got, now)
		}
	}
	real := newSteady(time.Now, slog.New(slog.DiscardHandler))
	if off := time.Since(real.now()); off < 0 || off > time.Second {
		t.Errorf("the system's clock is off by %v", off)
	}
}
