package policy

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestHouseholdAfterPasswordChange: three devices of one user fail for half an
// hour where nobody of the household has been seen, in a network that many of
// the site's people use. Whoever goes on for longer is a guesser there as well.
func TestHouseholdAfterPasswordChange(t *testing.T) {
	s := newDefaultStory(t)
	s.settle()
	home, guesser := townHome(3000), townHome(3003)
	tries := func(source string, from, until time.Duration) {
		for at := from; at < until; at += 70 * time.Second {
			for i := range 3 {
				s.tell(at+time.Duration(i*i)*7*time.Second, AuthFailure, source, townsman(7), 0)
			}
		}
	}
	tries(home, 0, 30*time.Minute)
	s.tell(31*time.Minute, AuthSuccess, home, townsman(7), 0)
	s.quiet()
	tries(guesser, 2*time.Hour, 5*time.Hour)
	if n, _ := s.flagged(); n != 1 {
		t.Errorf("%d sources flagged, want who guesses for three hours", n)
	}
}

// TestNameThatNobodyHas: it takes twice as many sources to guard a name that
// nobody ever succeeded by, as nobody could then use it from anywhere.
func TestNameThatNobodyHas(t *testing.T) {
	for _, test := range []struct {
		user string
		want int
	}{{townsman(7), 8}, {"nobody@example.org", 16}} {
		s := newDefaultStory(t)
		s.settle()
		for i := range 20 {
			s.tell(time.Duration(i)*time.Minute, AuthFailure, abroad(i), test.user, 0)
		}
		var guard *Decision
		for i := range s.out {
			if s.out[i].User == test.user && guard == nil {
				guard = &s.out[i]
			}
		}
		if guard == nil || guard.Action != Guard || guard.Evidence.Count != test.want {
			t.Errorf("%s: got %+v, want a guard after %d sources", test.user, s.out, test.want)
		}
	}
}

// TestOldDeviceByNight: what has failed twelve times in a row at one rhythm
// before anybody is known stays a device for a day, until its office has come to
// work, be it quick or slow. From then on it is judged as a rhythm in a network
// that nobody succeeds from. A guesser that only comes near a rhythm is found on
// the first day.
func TestOldDeviceByNight(t *testing.T) {
	const minute = time.Minute
	for _, test := range []struct {
		every, jitter time.Duration
		device        bool
	}{
		{4 * minute, 0, true},
		{4 * minute, 5 * time.Second, true},
		{13 * minute, 15 * time.Second, true},
		{13 * minute, 2 * minute, false},
	} {
		s := newDefaultStory(t)
		rng := rand.New(rand.NewPCG(1, 3))
		next := time.Duration(0)
		for at := time.Duration(0); at < 5*day; at += minute {
			m := int(at / minute)
			s.tell(at, AuthSuccess, townHome(m*7%600), townsman(m*7%600), 0)
			if at >= next {
				s.tell(next+minute, AuthFailure, abroad(1), "scan@example.org", 0)
				next += test.every + time.Duration(rng.Int64N(int64(2*test.jitter)+1)) - test.jitter
			}
		}
		if n, _ := s.flagged(); n == 0 {
			t.Fatalf("every %s within %s: never flagged", test.every, test.jitter)
		}
		if first := s.out[0]; first.Since.Before(dawn.Add(day)) == test.device {
			t.Errorf("every %s within %s: flagged after %s: %s", test.every, test.jitter, first.Since.Sub(dawn), first.Reason)
		}
	}
}
