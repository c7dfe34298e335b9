package faults

import (
	"os"
	"testing"
	"time"

	"weir/tests/lab"
)

// TestLogGone takes the log away while the agent runs, and brings it back; and
// so while the agent is killed. Status says that it is missing, and no line is
// lost or read twice. How long it is gone plays no part: it is looked for
// again and again.
func TestLogGone(t *testing.T) {
	s := mustRun(t, rules)
	s.mustPin(pinned4)
	blocked := s.mustProbe(pinned4)
	away := s.lab.Path("log", "elsewhere")
	mustRename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	lines := func() uint64 { return s.mustStatus().Intakes[0].Lines }
	s.mustLog(failure(guesser4))
	s.mustPoll(lab.Patience, "the first line to be read", func() bool { return lines() == 1 })
	mustRename(s.lab.MailLog(), away)
	s.mustPoll(lab.Patience, "the agent to say that the log is gone", func() bool { return s.mustStatus().Intakes[0].Error != "" })
	t.Logf("status says %q", s.mustStatus().Intakes[0].Error)
	pause(t.Context(), 3*time.Second) // some of the times that it is looked for
	mustRename(away, s.lab.MailLog())
	s.mustLog(failure(guesser4))
	s.mustPoll(lab.Patience, "the second line to be read", func() bool { return lines() == 2 })
	if got := s.mustStatus().Intakes[0]; got.Error != "" || got.Lost != 0 {
		t.Errorf("after it came back: %+v", got)
	}

	s.mustKill()
	mustRename(s.lab.MailLog(), away)
	s.mustStart()
	s.mustPoll(lab.Patience, "the agent to say that the log is gone", func() bool { return s.mustStatus().Intakes[0].Error != "" })
	mustRename(away, s.lab.MailLog())
	_, decisions, err := listed(t.Context(), s.client)
	if err != nil || len(decisions) != 0 {
		t.Errorf("after two failures: %v, %v", decisions, err)
	}
	s.mustLog(failure(guesser4))
	s.mustPoll(lab.Patience, "the third failure to count", func() bool {
		_, decisions, err := listed(t.Context(), s.client)
		return err == nil && len(decisions) == 1 && decisions[guesser4.String()].InForce
	})
	if got := s.mustStatus().Intakes[0]; got.Lost != 0 {
		t.Errorf("after a kill: %+v", got)
	}
	if n := s.mustKnock(blocked, 50); n != 0 {
		t.Errorf("%d packets got through", n)
	}
}
