package policy

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// TestOfficeAtNight: weir begins at night, when nobody of an office is there but
// two forgotten telephones. In the morning its people come, and some mistype.
func TestOfficeAtNight(t *testing.T) {
	const office = "192.0.2.1"
	s := newDefaultStory(t)
	morning := 9 * time.Hour
	for at := time.Duration(0); at < 30*time.Hour; at += 30 * time.Second {
		tick := int(at / (30 * time.Second))
		if tick%3 == 0 {
			s.tell(at, AuthFailure, office, "stale1", 0)
		}
		if tick%4 == 1 {
			s.tell(at+10*time.Second, AuthFailure, office, "stale2", 0)
		}
		if at >= morning && at < morning+9*time.Hour {
			user := "user" + strconv.Itoa(int(at/time.Minute)*7%250)
			if at%(20*time.Minute) == 0 {
				s.tell(at+time.Second, AuthFailure, office, user, 0)
				s.tell(at+2*time.Second, AuthFailure, office, user, 0)
			}
			s.tell(at+20*time.Second, AuthSuccess, office, user, 0)
		}
	}
	s.quiet()
}

// TestOfficeInTheFirstMinutes: weir begins by day. Before anybody has succeeded
// from an office two of its telephones have failed several times, and people
// have mistyped, which is what a guesser of many names does. It is let be, and
// who does only that is found a little later.
func TestOfficeInTheFirstMinutes(t *testing.T) {
	for _, office := range []bool{true, false} {
		s := newDefaultStory(t)
		for at := time.Duration(0); at < 3*time.Hour; at += time.Second {
			tick := int(at / time.Second)
			if tick%83 == 0 {
				s.tell(at, AuthFailure, "192.0.2.1", "stale1@example.org", 0)
			}
			if tick%78 == 46 {
				s.tell(at, AuthFailure, "192.0.2.1", "stale2@example.org", 0)
			}
			switch who := "member" + strconv.Itoa(tick/100%60) + "@example.org"; tick % 200 {
			case 60, 80:
				s.tell(at, AuthFailure, "192.0.2.1", who, 0)
			case 99, 199:
				if office {
					s.tell(at, AuthSuccess, "192.0.2.1", who, 0)
				}
			}
		}
		switch n, rules := s.flagged(); {
		case office:
			s.quiet()
		case n == 0 || rules != "guessing":
			t.Errorf("%d sources flagged by %q", n, rules)
		case s.out[0].Since.Sub(dawn) > 20*time.Minute:
			t.Errorf("found after %s", s.out[0].Since.Sub(dawn))
		}
	}
}

// TestGuesserAmongDevices: forgotten devices are no cover for a guesser.
func TestGuesserAmongDevices(t *testing.T) {
	s := newDefaultStory(t)
	for at := time.Duration(0); at < 6*time.Hour; at += 90 * time.Second {
		s.tell(at, AuthFailure, "192.0.2.1", "stale1", 0)
	}
	s.quiet()
	for i := range 10 {
		s.tell(6*time.Hour+time.Duration(i)*time.Second, AuthFailure, "192.0.2.1", "x"+strconv.Itoa(i), 0)
	}
	if n, rules := s.flagged(); n != 1 || rules != "guessing" {
		t.Errorf("%d sources flagged by %q", n, rules)
	}
}

// TestTeamsMailbox: in weir's first hours a dozen people read one mailbox, each
// from a home in networks of which many others come.
func TestTeamsMailbox(t *testing.T) {
	s := newDefaultStory(t)
	for m := range 4 * 60 {
		at := time.Duration(m) * time.Minute
		s.tell(at, AuthSuccess, townHome(m*7%600), townsman(m*7%600), 0)
		if m >= 60 && m%4 == 0 {
			s.tell(at+time.Second, AuthSuccess, townHome(m/4%16*37), "office@example.org", 0)
		}
	}
	s.quiet()
}

// TestDrippingAccounts: what one account may send from a new place in an hour is
// too much if forty do.
func TestDrippingAccounts(t *testing.T) {
	for _, accounts := range []int{1, 40} {
		t.Run(fmt.Sprint(accounts), func(t *testing.T) {
			s := newDefaultStory(t)
			s.settle()
			for i := range 14 {
				at := time.Duration(i) * 4 * time.Minute
				for a := range accounts {
					s.tell(at+time.Duration(a)*time.Second, Message, fmt.Sprintf("45.%d.7.1", a), townsman(100+a), 10)
				}
			}
			guarded := 0
			for _, d := range s.out {
				if d.User != "" {
					guarded++
				}
			}
			if accounts == 1 {
				s.quiet()
			} else if n, _ := s.flagged(); guarded < accounts || n < accounts {
				t.Errorf("%d users guarded and %d sources flagged of %d", guarded, n, accounts)
			}
		})
	}
}

// TestTeamAmongDrips: while forty stolen accounts drip, a team that answers its
// mailbox's mail from new places is not judged as they are: it writes to few at
// once.
func TestTeamAmongDrips(t *testing.T) {
	s := newDefaultStory(t)
	s.settle()
	const team = "office@example.org"
	s.tell(-6*time.Hour, AuthSuccess, "198.51.100.1", team, 0)
	for i := range 90 {
		at := time.Duration(i) * 12 * time.Minute
		if i%3 == 0 {
			for a := range 40 {
				s.tell(at+time.Duration(a)*time.Second, Message, fmt.Sprintf("45.%d.7.1", a), townsman(100+a), 10)
			}
		}
		s.tell(at+time.Minute, Message, fmt.Sprintf("198.%d.100.1", 60+i%9), team, 1+i%4)
	}
	drips := 0
	for _, d := range s.out {
		if d.User == team || d.User == "" && d.Prefix.Addr().As4()[0] == 198 {
			t.Errorf("%s: %s", d.Target, d.Reason)
		}
		if d.User != "" {
			drips++
		}
	}
	if drips < 40 {
		t.Errorf("%d of 40 accounts that drip are guarded", drips)
	}
}

// TestSmallOfficeInItsOwnNetwork: nobody else comes from the network of an
// office, where somebody mistypes now and then on the first afternoon. Two who
// work there are enough to say that it is no stranger.
func TestSmallOfficeInItsOwnNetwork(t *testing.T) {
	for _, members := range []int{1, 2} {
		s := newDefaultStory(t)
		for m := range 24 * 60 {
			at := time.Duration(m) * time.Minute
			s.tell(at, AuthSuccess, townHome(m*7%600), townsman(m*7%600), 0)
			if m%60 == 30 && m > 10*60 {
				s.tell(at, AuthSuccess, "2001:db8:1:2::1", "member"+strconv.Itoa(m/60%members), 0)
			}
			if hour := m / 60; m%60 == hour*hour%60 && hour >= 13 {
				s.tell(at+time.Second, AuthFailure, "2001:db8:1:2::2", "member9", 0)
			}
		}
		if n, _ := s.flagged(); (n == 0) != (members == 2) {
			t.Errorf("%d sources flagged where %d succeed", n, members)
		}
	}
}

// TestGuesserWithAnAccount: that a guesser can succeed with one account does not
// make what it tries of others any better, but for the hour that households have.
func TestGuesserWithAnAccount(t *testing.T) {
	tries := func(accounts bool) (n int) {
		s := newDefaultStory(t)
		s.settle()
		for n = 0; len(s.out) == 0 && n < 100; n++ {
			at := time.Duration(n) * 40 * time.Minute
			if accounts && n%2 == 0 {
				s.tell(at-time.Minute, AuthSuccess, townHome(3003), townsman(500), 0)
			}
			s.tell(at, AuthFailure, townHome(3003), townsman(n), 0)
		}
		return n
	}
	if without, with := tries(false), tries(true); with > without+2 {
		t.Errorf("flagged after %d tries, and after %d if it has an account", without, with)
	}
}

// TestMailingFromWhereFewLive: from a network of which hardly any users are, half
// is enough over a day if it goes to many at once. An invitation is none of
// that, nor letters, nor what the user does all the time.
func TestMailingFromWhereFewLive(t *testing.T) {
	tests := []struct {
		name     string
		source   string
		messages int
		each     int
		every    time.Duration
		usual    int // recipients a day at home
		guarded  bool
	}{
		{"a drip all day", "45.7.7.1", 15, 10, 40 * time.Minute, 0, true},
		{"an invitation", "45.7.7.1", 7, 20, 3 * time.Minute, 0, false},
		{"letters all day", "45.7.7.1", 100, 2, 6 * time.Minute, 0, false},
		{"from another home of the town", townHome(3000), 15, 10, 40 * time.Minute, 0, false},
		{"as it does at home", "45.7.7.1", 15, 10, 40 * time.Minute, 160, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newDefaultStory(t)
			for n := -48; n < 0; n++ {
				s.tell(time.Duration(n)*time.Hour, AuthSuccess, townHome(1), townsman(1), 0)
				if n%6 == 0 && tt.usual > 0 {
					s.tell(time.Duration(n)*time.Hour, Message, townHome(1), townsman(1), tt.usual/4)
				}
			}
			s.settle()
			for i := range tt.messages {
				s.tell(time.Duration(i)*tt.every, Message, tt.source, townsman(1), tt.each)
			}
			if n, _ := s.flagged(); (n > 0) != tt.guarded {
				t.Errorf("%d sources flagged", n)
			}
		})
	}
}
