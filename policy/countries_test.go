package policy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// byThird tells countries by the third number of an address; of 255 it knows
// nothing.
type byThird struct{}

func (byThird) Country(a netip.Addr) (uint16, bool) {
	third := a.As4()[2]
	return uint16(third) + 1, third != 255
}

// TestCountriesPerUser is a user whose logins come from five countries in a
// day, and one who travels from one to another.
func TestCountriesPerUser(t *testing.T) {
	guarded := func(locator Locator, countries int) bool {
		s := newDefaultStory(t)
		s.e.SetLocator(locator)
		for day := range 3 {
			for hour := range 10 {
				s.tell(time.Duration(24*day+hour)*time.Hour, AuthSuccess, "10.9.0.1", "anna", 0)
			}
		}
		for n := range countries {
			// All in one network, so that no rule but this one is concerned.
			s.tell(time.Duration(72+n)*time.Hour, AuthSuccess, fmt.Sprintf("198.18.%d.7", n+1), "anna", 0)
		}
		for _, d := range s.out {
			if d.User == "anna" && d.Rule == "countries-per-user" {
				return true
			}
		}
		return false
	}
	if !guarded(byThird{}, 8) {
		t.Error("logins from eight countries in a day say nothing")
	}
	if guarded(byThird{}, 2) {
		t.Error("a traveller is guarded")
	}
	if guarded(nil, 8) {
		t.Error("countries are counted without a database")
	}
	if guarded(nowhere{}, 8) {
		t.Error("addresses of no known country are counted")
	}
}

// TestTravelTime is a user who sends from abroad, a moment after a login at home
// or in the evening: the one makes it doubtful whether it is the user.
func TestTravelTime(t *testing.T) {
	guarded := func(locator Locator, later time.Duration) bool {
		s := newDefaultStory(t)
		s.e.SetLocator(locator)
		for hour := range 30 {
			s.tell(time.Duration(hour)*time.Hour, AuthSuccess, "10.9.0.1", "anna", 0)
		}
		for n := range 6 {
			s.tell(29*time.Hour+later+time.Duration(n)*time.Minute, Message, "198.18.1.7", "anna", 10)
		}
		return len(s.out) > 0
	}
	if !guarded(byThird{}, 20*time.Minute) {
		t.Error("in another country after twenty minutes: nothing follows")
	}
	if guarded(byThird{}, 5*time.Hour) {
		t.Error("a traveller is guarded")
	}
	if guarded(nil, 20*time.Minute) || guarded(nowhere{}, 20*time.Minute) {
		t.Error("speed is judged without knowing the countries")
	}
}

type nowhere struct{}

func (nowhere) Country(netip.Addr) (uint16, bool) { return 0, false }

// TestListedSource is a stranger that fails: a DNS list's word counts as much
// as some failures, and nothing by itself.
func TestListedSource(t *testing.T) {
	failures := func(listed bool) int {
		s := newDefaultStory(t)
		if listed {
			s.tell(0, Listed, "203.0.113.9", "", 0)
		}
		if n, rules := s.flagged(); n > 0 {
			t.Fatalf("being listed is enough for %s", rules)
		}
		for n := range 30 {
			s.tell(time.Duration(n+1)*40*time.Second+time.Duration(n*n%7)*9*time.Second, AuthFailure, "203.0.113.9", "anna", 0)
			if flagged, _ := s.flagged(); flagged > 0 {
				return n + 1
			}
		}
		return 0
	}
	with, without := failures(true), failures(false)
	if with == 0 || with >= without {
		t.Errorf("flagged after %d failures if listed, after %d if not", with, without)
	}
}
