package policy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

func newDefaultStory(t *testing.T) *story { return newStory(t, DefaultRules()...) }

// flagged returns how many decisions there were on sources, and which rules
// made them.
func (s *story) flagged() (n int, rules string) {
	seen := map[string]int{}
	var names []string
	for _, d := range s.out {
		if d.User == "" {
			n++
			if seen[d.Rule]++; seen[d.Rule] == 1 {
				names = append(names, d.Rule)
			}
		}
	}
	return n, strings.Join(names, " ")
}

// quiet fails the test if anybody was flagged.
func (s *story) quiet() {
	s.t.Helper()
	for _, d := range s.out {
		s.t.Errorf("%s %s at %s: %s", d.Action, d.Target, d.Since.Format(time.DateTime), d.Reason)
		if s.t.Failed() {
			return
		}
	}
}

func TestDefaultRulesAreValid(t *testing.T) {
	if err := ValidateRules(DefaultRules()); err != nil {
		t.Error(err)
	}
}

// TestOfficeWithStalePhone is 250 people behind one address: logins all day,
// some typing errors, and two phones that fail every 90 seconds for ever.
// weir has just been installed and knows nobody.
func TestOfficeWithStalePhones(t *testing.T) {
	const office = "192.0.2.1"
	rng := rand.New(rand.NewPCG(1, 1))
	s := newDefaultStory(t)
	for tick := range 3 * 24 * 60 * 2 { // half minutes
		at := time.Duration(tick) * 30 * time.Second
		if tick%3 == 0 {
			s.tell(at, AuthFailure, office, "stale1", 0)
		}
		if tick%3 == 1 && tick > 240 {
			s.tell(at, AuthFailure, office, "stale2", 0)
		}
		if hour := at % (24 * time.Hour) / time.Hour; hour < 10 {
			user := "user" + strconv.Itoa(rng.IntN(250))
			if rng.IntN(60) == 0 {
				s.tell(at, AuthFailure, office, user, 0)
				s.tell(at+time.Second, AuthFailure, office, user, 0)
			}
			s.tell(at+2*time.Second, AuthSuccess, office, user, 0)
			if rng.IntN(10) == 0 {
				s.tell(at+3*time.Second, Message, office, user, 1+rng.IntN(4))
			}
		}
	}
	s.quiet()
}

// TestHomeAfterPasswordChange: three devices fail for half an hour, once a
// minute each, while the fourth logs in every five minutes.
func TestHomeAfterPasswordChange(t *testing.T) {
	s := newDefaultStory(t)
	for m := range 24 * 60 {
		at := time.Duration(m) * time.Minute
		if m >= 600 && m < 630 {
			for i := range 3 {
				s.tell(at+time.Duration(i)*time.Second, AuthFailure, "192.0.2.1", "bob", 0)
			}
		}
		if m%5 == 0 {
			s.tell(at+10*time.Second, AuthSuccess, "192.0.2.1", "bob", 0)
		}
	}
	s.quiet()
}

func TestNewPhoneTriesNames(t *testing.T) {
	s := newDefaultStory(t)
	for i, name := range []string{"carol", "Carol", "carol@example.org", "carol", "carol@example.org"} {
		s.tell(time.Duration(i)*40*time.Second, AuthFailure, "192.0.2.1", name, 0)
	}
	s.tell(10*time.Minute, AuthSuccess, "192.0.2.1", "carol@example.org", 0)
	s.quiet()
}

// TestRoamingPhone has 18 addresses a day, each new.
func TestRoamingPhone(t *testing.T) {
	s := newDefaultStory(t)
	for m := range 14 * 24 * 60 / 10 {
		at := time.Duration(m) * 10 * time.Minute
		source := address("198.51.100.0", m/8)
		s.tell(at, AuthSuccess, source, "dave", 0)
		if m%40 == 0 {
			s.tell(at, Message, source, "dave", 3)
		}
	}
	s.quiet()
}

func TestNewsletterFromKnownAddress(t *testing.T) {
	s := newDefaultStory(t)
	s.tell(0, AuthSuccess, "192.0.2.1", "news", 0)
	for run := range 2 {
		for i := range 38 {
			s.tell(13*time.Hour+time.Duration(run*20+i/2)*time.Minute, Message, "192.0.2.1", "news", 10)
		}
	}
	s.quiet()
}

// TestContentFilterErrs: in the hours when weir knows nobody, a newsletter of
// which two copies are taken for spam, somebody who sends a refused message
// again and again, and a phone that offers one every ten minutes.
func TestContentFilterErrs(t *testing.T) {
	s := newDefaultStory(t)
	for i := range 60 {
		kind := Message
		if i == 7 || i == 31 {
			kind = Content
		}
		s.tell(time.Duration(i)*time.Minute, kind, "192.0.2.1", "news", 5)
		if i < 6 {
			s.tell(time.Duration(i)*20*time.Second, Content, "192.0.2.2", "bob", 0)
		}
	}
	for i := range 6 * 24 {
		s.tell(time.Duration(i)*10*time.Minute, Content, "192.0.2.3", "carol", 0)
	}
	s.quiet()
}

// TestAttacks tells how many tries or recipients each attack gets through
// before its sources are flagged.
func TestAttacks(t *testing.T) {
	tests := []struct {
		name    string
		attack  func(s *story)
		flagged int
		rules   string
	}{
		{"fast guessing of one password", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*time.Second, AuthFailure, "203.0.113.1", "alice", 0)
			}
		}, 1, "failures-per-source"},
		{"a try every eleven minutes", func(s *story) {
			for i := range 30 {
				s.tell(time.Duration(i)*11*time.Minute, AuthFailure, "203.0.113.1", "alice", 0)
			}
		}, 1, "slow-failures-per-source"},
		{"botnet, four tries each over days", func(s *story) {
			for i := range 4 {
				for bot := range 500 {
					s.tell(time.Duration(i)*30*time.Hour+time.Duration(bot)*time.Minute, AuthFailure, address("203.0.112.0", bot), fmt.Sprintf("user%d", i*500+bot), 0)
				}
			}
		}, 500, "users-tried-per-source"},
		{"one /64, a new address each try", func(s *story) {
			for i := range 4 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, fmt.Sprintf("2001:db8::%x", i), fmt.Sprintf("user%d", i), 0)
			}
		}, 1, "users-tried-per-source"},
		{"spraying from inside a known office", func(s *story) {
			s.tell(-time.Hour, AuthSuccess, "192.0.2.1", "erin", 0)
			for i := range 15 {
				s.tell(time.Duration(i)*3*time.Minute, AuthFailure, "192.0.2.1", fmt.Sprintf("user%d", i), 0)
			}
		}, 1, "many-users-tried-per-source"},
		{"directory harvest", func(s *story) {
			for i := range 20 {
				s.tell(time.Duration(i)*2*time.Minute, UnknownRecipient, "203.0.113.1", "", 0)
			}
		}, 1, "unknown-recipients-per-source"},
		{"stolen account from everywhere, no failure", func(s *story) {
			s.tell(-24*time.Hour, AuthSuccess, "192.0.2.1", "alice", 0)
			for i := range 700 {
				s.tell(time.Duration(i)*time.Second, Message, address("203.0.112.0", i), "alice", 20)
				s.tell(time.Duration(i)*time.Second, AuthSuccess, "192.0.2.1", "alice", 0)
			}
		}, 700, "sources-per-user"},
		{"stolen account from one source", func(s *story) {
			for i := range 20 {
				s.tell(time.Duration(i)*10*time.Second, Message, "203.0.113.1", "alice", 25)
			}
		}, 1, "recipients-per-user"},
		{"stolen account, dripping from three sources", func(s *story) {
			for i := range 120 {
				s.tell(time.Duration(i)*12*time.Minute, Message, address("203.0.113.0", i%3), "alice", 25)
			}
		}, 3, "daily-recipients-per-user"},
		{"stolen account, whose spam the content filter refuses", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*4*time.Minute, AuthSuccess, address("203.0.113.0", i%5), "alice", 0)
				s.tell(time.Duration(i)*4*time.Minute, Content, address("203.0.113.0", i%5), "alice", 0)
			}
		}, 5, "bad-content-per-user"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newDefaultStory(t)
			tt.attack(s)
			if n, rules := s.flagged(); n != tt.flagged || rules != tt.rules {
				t.Errorf("flagged %d by %q, want %d by %q", n, rules, tt.flagged, tt.rules)
			}
			for _, d := range s.out {
				if d.Target.String() == "192.0.2.1" && tt.name == "stolen account from everywhere, no failure" {
					t.Errorf("home is flagged: %s", d.Reason)
				}
			}
		})
	}
}
