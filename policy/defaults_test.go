package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
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

// settle makes the site known: for two days 600 users log in and send a little,
// each from a home in one of three networks, one of them from an office.
func (s *story) settle() {
	for m := -48 * 60; m < 0; m++ {
		u := (m + 48*60) * 7 % 600
		at := time.Duration(m) * time.Minute
		s.tell(at, AuthSuccess, townHome(u), townsman(u), 0)
		if u%5 == 0 {
			s.tell(at+time.Second, Message, townHome(u), townsman(u), 2)
		}
		s.tell(at+30*time.Second, AuthSuccess, "192.0.2.1", townsman(u%50), 0)
	}
	s.quiet()
}

func townsman(u int) string { return "user" + strconv.Itoa(u) + "@example.org" }

// townHome is in 198.18.0.0/16, 198.19.0.0/16 or 100.64.0.0/16.
func townHome(u int) string {
	return address([]string{"198.18.0.0", "198.19.0.0", "100.64.0.0"}[u%3], u*17)
}

// abroad is an address in a network that nobody is known in.
func abroad(i int) string { return address("20.0.0.0", i*65536*3+i) }

// TestAttacks tells how many items each attack gets through before it is
// stopped, on a site that is known.
func TestAttacks(t *testing.T) {
	tests := []struct {
		name   string
		lost   int // items until the first decision on a source
		rules  string
		attack func(s *story)
	}{
		{"fast guessing of one password", 10, "guessing", func(s *story) {
			for i := range 20 {
				s.tell(time.Duration(i)*time.Second, AuthFailure, "203.0.113.1", townsman(7), 0)
			}
		}},
		{"a try every eleven minutes", 10, "guessing", func(s *story) {
			for i := range 20 {
				s.tell(time.Duration(i)*11*time.Minute, AuthFailure, "203.0.113.1", townsman(7), 0)
			}
		}},
		{"spraying", 4, "guessing", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, "203.0.113.1", townsman(i), 0)
			}
		}},
		{"spraying names that there are not", 3, "guessing", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, "203.0.113.1", "nobody"+strconv.Itoa(i), 0)
			}
		}},
		{"spraying from inside a known office", 20, "many-users-tried-per-source", func(s *story) {
			for i := range 25 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, "192.0.2.1", townsman(i), 0)
			}
		}},
		{"one /64, a new address each try", 4, "guessing", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, fmt.Sprintf("2001:db8::%x", i), townsman(i), 0)
			}
		}},
		{"one /48, a new /64 each try", 5, "bad-neighbourhood", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, fmt.Sprintf("2001:db8:0:%x::1", i*5001), townsman(i), 0)
			}
		}},
		{"neighbours, a try each", 5, "bad-neighbourhood", func(s *story) {
			for i := range 10 {
				s.tell(time.Duration(i)*time.Minute, AuthFailure, address("203.0.113.0", i*23), townsman(i), 0)
			}
		}},
		{"directory harvest", 6, "harvesting", func(s *story) {
			for i := range 20 {
				s.tell(time.Duration(i)*2*time.Minute, UnknownRecipient, "203.0.113.1", "", 0)
			}
		}},
		{"connection flood", 60, "connection-flood", func(s *story) {
			for i := range 200 {
				s.tell(time.Duration(i*i%7+i*10)*100*time.Millisecond, Connection, "203.0.113.1", "", 0)
			}
		}},
		{"stolen account from everywhere, no failure", 6, "networks-per-user", func(s *story) {
			for i := range 40 {
				s.tell(time.Duration(i)*time.Minute, Message, abroad(i), townsman(7), 1)
			}
		}},
		{"stolen account from one source", 6, "strangers-daily-recipients", func(s *story) {
			for i := range 20 {
				s.tell(time.Duration(i)*10*time.Second, Message, "203.0.113.1", townsman(7), 25)
			}
		}},
		{"stolen account, dripping from three sources", 6, "strangers-daily-recipients", func(s *story) {
			for i := range 120 {
				s.tell(time.Duration(i)*12*time.Minute, Message, abroad(i%3), townsman(7), 25)
			}
		}},
		{"stolen account, whose spam the content filter refuses", 10, "bad-content-per-user", func(s *story) {
			for i := range 15 {
				s.tell(time.Duration(i)*4*time.Minute, Content, abroad(i%5), townsman(7), 0)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newDefaultStory(t)
			s.settle()
			before := s.n
			tt.attack(s)
			if _, rules := s.flagged(); !strings.HasPrefix(rules, tt.rules) {
				t.Fatalf("flagged by %q, want %q first", rules, tt.rules)
			}
			first := s.out[0]
			if lost := int(first.Evidence.LastLine - before); lost != tt.lost {
				t.Errorf("%d items until %s: %s; want %d", lost, first.Rule, first.Reason, tt.lost)
			}
			for _, d := range s.out {
				if home := netip.MustParseAddr(townHome(7)); d.User == "" && d.Prefix.Contains(home) {
					t.Errorf("the home is flagged: %s", d.Reason)
				}
			}
		})
	}
}

// TestOneUserTriedFromEverywhere: the user is guarded, not its home.
func TestOneUserTriedFromEverywhere(t *testing.T) {
	s := newDefaultStory(t)
	s.settle()
	for i := range 20 {
		s.tell(time.Duration(i)*time.Minute, AuthFailure, abroad(i), townsman(7), 0)
		s.tell(time.Duration(i)*time.Minute, AuthSuccess, townHome(7), townsman(7), 0)
	}
	if len(s.out) == 0 || s.out[0].User != townsman(7) || s.out[0].Action != Guard || s.out[0].Evidence.Count != 8 {
		t.Errorf("got %+v", s.out)
	}
}

// TestGuardOfAStolenAccount: who meets a new place a few hours after all the
// world has used the account is let in. While the world goes on, no more than
// what brings the guard back gets through in between.
func TestGuardOfAStolenAccount(t *testing.T) {
	for _, lasts := range []time.Duration{time.Hour, 12 * time.Hour} {
		s := newDefaultStory(t)
		s.settle()
		var until time.Time
		through := 0
		for at := time.Duration(0); at < lasts; at += 20 * time.Second {
			if !dawn.Add(at).Before(until) {
				through++
			}
			for _, d := range s.tell(at, Message, abroad(int(at/(20*time.Second))), townsman(7), 1) {
				if d.User == townsman(7) {
					until = d.Until
				}
			}
		}
		if guards := int((lasts + 3*time.Hour) / (3 * time.Hour)); through > 7*guards {
			t.Errorf("%d messages get through in %s", through, lasts)
		}
		if rest := until.Sub(dawn.Add(lasts)); rest < 0 || rest > 3*time.Hour {
			t.Errorf("guarded for %s after the last of it", rest)
		}
		if d := s.tell(until.Sub(dawn)+time.Minute, AuthSuccess, abroad(1<<12), townsman(7), 0); len(d) > 0 {
			t.Errorf("the owner's new place: %+v", d)
		}
	}
}

// TestBotnetUnderPressure: hundreds of sources, a try each for now. From when
// that is far above what is normal, whoever has had its time is flagged, and
// later ones of networks that nobody succeeds from at the end of theirs.
func TestBotnetUnderPressure(t *testing.T) {
	s := newDefaultStory(t)
	s.settle()
	for i := range 300 {
		s.tell(time.Duration(i)*time.Minute, AuthFailure, abroad(i), townsman(i), 0)
		// Somebody new mistypes twice, and then does not.
		s.tell(time.Duration(i)*time.Minute+time.Second, AuthFailure, address("198.18.200.0", i), townsman(i), 0)
		s.tell(time.Duration(i)*time.Minute+30*time.Second, AuthFailure, address("198.18.200.0", i), townsman(i), 0)
		s.tell(time.Duration(i)*time.Minute+50*time.Second, AuthSuccess, address("198.18.200.0", i), townsman(i), 0)
	}
	n, rules := s.flagged()
	if rules != "first-offence" || n < 240 {
		t.Errorf("flagged %d by %q", n, rules)
	}
	for _, d := range s.out {
		if netip.MustParsePrefix("198.18.0.0/16").Overlaps(d.Prefix) {
			t.Errorf("%s is flagged: %s", d.Prefix, d.Reason)
		}
	}
}

// TestLadder: a source climbs it, and one that succeeds is let go.
func TestLadder(t *testing.T) {
	s := newStory(t, Rule{Name: "ladder", Events: []Kind{AuthFailure}, Per: PerSource, Measure: MeasureWeight, Threshold: 3,
		Within: time.Hour, SuccessForgives: true, Steps: []Action{Limit, Tarpit}, Rate: Rate{Every: time.Minute, Burst: 1},
		Action: Drop, For: time.Hour, Escalate: 2})
	for i := range 8 {
		s.tell(time.Duration(i)*time.Second, AuthFailure, "203.0.113.1", "bob", 0)
	}
	for i := range 3 {
		s.tell(time.Duration(i)*time.Second, AuthFailure, "203.0.113.2", "bob", 0)
	}
	s.tell(time.Minute, AuthSuccess, "203.0.113.2", "bob", 0)
	var got []string
	for _, d := range s.out {
		got = append(got, d.Target.String()+" "+d.Action.String()+" "+FormatDuration(d.Until.Sub(d.Since)))
	}
	want := "203.0.113.1 limit 1h, 203.0.113.1 tarpit 2h, 203.0.113.1 drop 4h, 203.0.113.2 limit 1h, 203.0.113.2 release 0s"
	if line := strings.Join(got, ", "); line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

// TestSamePassword: a device that tries again what was refused hardly counts,
// and a guesser's passwords all do.
func TestSamePassword(t *testing.T) {
	s := newDefaultStory(t)
	try := func(source string, i int, password uint32) {
		s.n++
		s.out = s.e.Observe(&Event{Time: dawn.Add(time.Duration(i*i%7+i*20) * time.Second), Kind: AuthFailure, Source: netip.MustParseAddr(source),
			User: "bob", Password: password, Line: s.n}, s.out)
	}
	for i := range 60 {
		try("203.0.113.1", i, 77)
	}
	s.quiet()
	for i := range 60 {
		try("203.0.113.2", i, uint32(i+1))
	}
	if len(s.out) != 1 || s.out[0].Evidence.Count != 10 {
		t.Errorf("got %+v", s.out)
	}
}
