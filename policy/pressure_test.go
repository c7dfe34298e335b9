package policy

import (
	"fmt"
	"testing"
	"time"
)

// TestBotnetWhereFewLive: while a botnet tries, a network in which one of the
// site's users lives is no shelter for what it has there: a failure is enough, as
// it is where nobody lives. Whoever succeeds in time is let be, and so is a
// telephone that fails at its rhythm; where nobody lives, a rhythm excuses nothing.
func TestBotnetWhereFewLive(t *testing.T) {
	tests := []struct {
		name    string
		source  string
		every   time.Duration // 0: once
		succeed bool
		flagged bool
	}{
		{"a bot where one user lives", "198.51.77.1", 0, false, true},
		{"who corrects it", "198.51.77.2", 0, true, false},
		{"a forgotten telephone", "198.51.77.3", 5 * time.Minute, false, false},
		{"a guesser at its rhythm where nobody lives", "45.7.7.7", 5 * time.Minute, false, true},
		{"the same as the bot where many live", "198.18.200.1", 0, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newDefaultStory(t)
			for m := -48 * 60; m < 0; m += 30 {
				s.tell(time.Duration(m)*time.Minute, AuthSuccess, "198.51.100.1", "alone@example.org", 0)
			}
			s.settle()
			begin := 2 * time.Hour
			for at := time.Duration(0); at < 4*time.Hour; at += time.Minute {
				s.tell(at, AuthFailure, abroad(int(at/time.Minute)), townsman(int(at/time.Minute)), 0)
				if since := at - begin; since == 0 || since > 0 && tt.every > 0 && since%tt.every == 0 {
					s.tell(at+time.Second, AuthFailure, tt.source, townsman(5), 0)
				} else if since == 20*time.Minute && tt.succeed {
					s.tell(at+time.Second, AuthSuccess, tt.source, townsman(5), 0)
				}
			}
			flagged := false
			for _, d := range s.out {
				if d.Prefix.String() == tt.source+"/32" {
					flagged = true
					if after := d.Since.Sub(dawn.Add(begin)); after > 32*time.Minute {
						t.Errorf("only after %s: %s", after, d.Reason)
					}
				}
			}
			if flagged != tt.flagged {
				t.Errorf("flagged: %t, want %t", flagged, tt.flagged)
			}
		})
	}
}

// TestHarvestByMany: each of ten sources asks for a recipient now and then, and
// when they are found the next ten do. That there is a harvest is known by then:
// of these two tries are enough. Servers that bring mail may err all the time.
func TestHarvestByMany(t *testing.T) {
	s := newDefaultStory(t)
	s.settle()
	tried := make(map[string]int)
	found := make(map[string]int)
	for i := range 120 {
		at := time.Duration(i) * 6 * time.Minute
		source := fmt.Sprintf("203.0.%d.7", i%10)
		if i >= 60 {
			source = fmt.Sprintf("203.1.%d.7", i%10)
		}
		tried[source]++
		for _, d := range s.tell(at, UnknownRecipient, source, "", 0) {
			found[d.Prefix.Addr().String()] = tried[source]
		}
		server := fmt.Sprintf("203.2.%d.7", i)
		s.tell(at+time.Second, Message, server, "", 1)
		if i%10 == 0 {
			s.tell(at+2*time.Second, UnknownRecipient, server, "", 0)
		}
	}
	for i := range 10 {
		first, next := fmt.Sprintf("203.0.%d.7", i), fmt.Sprintf("203.1.%d.7", i)
		if found[first] == 0 || found[first] > 6 || found[next] != 2 {
			t.Errorf("%s is found at its try %d, %s at %d", first, found[first], next, found[next])
		}
	}
	if len(found) != 20 {
		t.Errorf("%d are found: %v", len(found), found)
	}
}
