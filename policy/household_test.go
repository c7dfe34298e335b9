package policy

import (
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

// TestOldDeviceByNight: what fails at a steady rhythm before anybody is known
// stays a device for a day, until its office has come to work. From then on it
// is judged as a rhythm in a network that nobody succeeds from.
func TestOldDeviceByNight(t *testing.T) {
	s := newDefaultStory(t)
	for m := range 5 * 24 * 60 {
		at := time.Duration(m) * time.Minute
		s.tell(at, AuthSuccess, townHome(m*7%600), townsman(m*7%600), 0)
		if m%4 == 0 {
			s.tell(at+time.Second, AuthFailure, abroad(1), "scan@example.org", 0)
		}
	}
	if n, _ := s.flagged(); n == 0 {
		t.Fatal("a guesser with a telephone's rhythm is never flagged")
	}
	for _, d := range s.out {
		if d.Since.Before(dawn.Add(24 * time.Hour)) {
			t.Errorf("flagged on the first day, at %s: %s", d.Since, d.Reason)
		}
	}
}
