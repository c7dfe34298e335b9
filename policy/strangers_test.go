package policy

import (
	"testing"
	"time"
)

// TestOfficeOfAStolenMailbox: a mailbox is read at a home and, since this
// morning, in an office of the town, whose answers are among what thieves send.
// They are dropped, and the office is not, unless it alone sends too much.
func TestOfficeOfAStolenMailbox(t *testing.T) {
	for _, tt := range []struct {
		thieves bool
		each    int // recipients of a message of the office
	}{{true, 6}, {false, 30}} {
		s := newDefaultStory(t)
		s.settle()
		office := townHome(3002)
		for at := -11 * time.Hour; at < 0; at += 20 * time.Minute {
			s.tell(at, AuthSuccess, townHome(1), townsman(1), 0)
			if at >= -5*time.Hour {
				s.tell(at, AuthSuccess, office, townsman(1), 0)
			}
		}
		for i := range 20 {
			at := time.Duration(i) * 2 * time.Minute
			if tt.thieves {
				s.tell(at, Message, abroad(i%2), townsman(1), 15)
			}
			if i%2 == 0 {
				s.tell(at, Message, office, townsman(1), tt.each)
			}
		}
		flagged := make(map[string]bool)
		for _, d := range s.out {
			flagged[d.Target.String()] = true
		}
		if flagged[abroad(0)] != tt.thieves || flagged[abroad(1)] != tt.thieves || !flagged[townsman(1)] || flagged[office] == tt.thieves {
			t.Errorf("thieves %t: flagged %v", tt.thieves, flagged)
		}
	}
}

// TestDripsBeforeAnybodyIsKnown: an account is dripped from the first minutes of
// the log on, from two networks in which nobody else is. That they were there
// before its owner does not make them the owner's, and who sends as much from a
// home of the town is let be.
func TestDripsBeforeAnybodyIsKnown(t *testing.T) {
	for _, sources := range [][2]string{{"45.1.7.1", "45.2.7.1"}, {townHome(3002), townHome(3003)}} {
		s := newDefaultStory(t)
		for m := range 20 * 60 {
			at := time.Duration(m) * time.Minute
			s.tell(at, AuthSuccess, townHome(m*7%600), townsman(m*7%600), 0)
			if m%25 == 5 {
				s.tell(at, Message, sources[m/25%2], "owner@example.org", 10)
			}
			if m > 60 && m%30 == 0 {
				s.tell(at, AuthSuccess, townHome(1), "owner@example.org", 0)
			}
		}
		n, _ := s.flagged()
		if drips := sources[0][:3] == "45."; drips != (n == 2) || !drips && n > 0 {
			t.Errorf("%d sources flagged of %v", n, sources)
		}
	}
}
