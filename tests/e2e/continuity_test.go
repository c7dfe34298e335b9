package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/lab"
)

const hangup = syscall.SIGHUP

// Enforcement has no gap: while the agent is stopped, killed, restarted and
// upgraded, a source that is dropped keeps knocking every millisecond, and
// not one packet of it gets through.
func TestNoGap(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.guess(fixed(attacker4))
	s.must("pin", attacker6.String(), "--action", "drop")
	var probes []*lab.Probe
	for _, from := range []struct {
		name string
		p    func() (*lab.Probe, error)
	}{
		{"IPv4", func() (*lab.Probe, error) { return s.lab.Probe(attacker4, 587, time.Millisecond) }},
		{"IPv6", func() (*lab.Probe, error) { return s.lab.Probe(attacker6, 25, time.Millisecond) }},
	} {
		p, err := from.p()
		if err != nil {
			t.Fatal(err)
		}
		probes = append(probes, p)
		t.Cleanup(func() {
			if err := p.Stop(); err != nil {
				t.Errorf("%s probe: %v", from.name, err)
			}
		})
	}
	knock := func(when string) {
		t.Helper()
		for _, p := range probes {
			begun := p.Sent()
			s.mustPoll(lab.Patience, "probes", func() bool { return p.Sent() >= begun+200 })
			if p.Through() != 0 || p.Answered() != 0 {
				t.Errorf("%s: of %d packets %d got through, %d were answered", when, p.Sent(), p.Through(), p.Answered())
			}
		}
	}
	knock("while the agent runs")
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	knock("after the agent was stopped")
	s.mustStart()
	knock("after the agent was started again")
	for range 3 {
		if err := s.weir.Kill(); err != nil {
			t.Fatal(err)
		}
		knock("after the agent was killed")
		s.mustStart()
		knock("after the agent was started after a kill")
	}
	s.weir.Binary = upgraded
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	knock("after an upgrade")
	if row := s.mustRow(attacker4.String()); row.Rule != "guessing" || row.Dropped < 500 {
		t.Errorf("list says after all that: %+v", row)
	}
	t.Logf("%d and %d packets, none got through", probes[0].Sent(), probes[1].Sent())

	// The probes were able to get through all the time.
	s.must("release", attacker4.String())
	s.must("unpin", attacker6.String())
	for i, p := range probes {
		s.mustPoll(lab.Patience, "the released probe to be answered", func() bool { return p.Answered() > 0 })
		if p.Through() == 0 {
			t.Errorf("probe %d was answered, but not seen", i)
		}
	}
}

// A restart loses no decision, no pin and no line, and counts none twice.
func TestRestartKeepsAll(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.guess(fixed(attacker4))
	s.must("pin", other6.String(), "--action", "drop", "--reason", "kept")
	session, err := s.lab.Submission(t.Context(), other4, 465)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	fail := func(n int) {
		t.Helper()
		for range n {
			if err := session.Auth("bob", "wrong"); err == nil {
				t.Fatal("a guess was right")
			}
		}
	}
	// Two attempts before, two while it is down, one after: the fifth counts.
	fail(2)
	s.mustPoll(lab.Patience, "the log to be read", func() bool { return s.readAll(s.skipped) })
	read := s.skipped + s.mustStatus().Intakes[0].Lines
	before := s.mustList()
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	fail(2)
	s.mustStart()
	s.mustPoll(lab.Patience, "the rest of the log to be read, once", func() bool { return s.readAll(read) })
	after := s.mustList()
	if len(before) != 2 || len(after) != 2 {
		t.Fatalf("listed before: %+v, after: %+v", before, after)
	}
	for i := range before {
		b, a := before[i], after[i]
		if a.Source != b.Source || a.Rule != b.Rule || a.Reason != b.Reason || !a.Since.Equal(b.Since) || a.Dropped < b.Dropped {
			t.Errorf("before: %+v, after: %+v", b, a)
		}
	}
	s.wantReachable(true, other4)
	_ = session.Auth("bob", "wrong") // its answer may come after the session's end
	s.mustPoll(lab.Patience, "the fifth attempt to count", func() bool {
		_, found, err := s.weir.Find(t.Context(), other4.String())
		return err == nil && found
	})
	s.wantReachable(false, other4)
}

// readAll reports whether weir has read exactly the whole log, but for the
// lines that were there before.
func (s *stage) readAll(before uint64) bool {
	status := s.mustStatus()
	return len(status.Intakes) == 1 && before+status.Intakes[0].Lines == s.logLines()
}

// Replaying the log gives the decisions that were made live.
func TestReplayEqualsLive(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.guess(fixed(attacker4))
	s.guess(fixed(attacker6))
	for n := range stolenSources + 1 {
		s.spam(n)
	}
	s.mustPoll(lab.Patience, "all sources and bob to be judged", func() bool { return len(s.mustList()) == 2+stolenSources+1+1 })
	s.mustPoll(lab.Patience, "the log to be read", func() bool { return s.readAll(s.skipped) })
	live := map[string]string{}
	for _, row := range s.mustList() {
		live[row.Source+row.User] = fmt.Sprint(row.Action, row.Since.Unix(), row.Until.Unix(), row.Rule, row.Reason)
	}
	out := s.must("replay", "--output", "jsonl", s.lab.MailLog())
	if again := s.must("replay", "--output", "jsonl", s.lab.MailLog()); again != out {
		t.Errorf("two replays differ:\n%s\n%s", out, again)
	}
	replayed := map[string]string{}
	for line := range strings.Lines(out) {
		var d struct {
			Time, Until                        time.Time
			Action, Source, User, Rule, Reason string
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		replayed[strings.TrimSuffix(d.Source, "/32")+d.User] = fmt.Sprint(d.Action, d.Time.Unix(), d.Until.Unix(), d.Rule, d.Reason)
	}
	if len(live) != len(replayed) {
		t.Errorf("%d decisions live, %d replayed", len(live), len(replayed))
	}
	for target, decision := range live {
		if replayed[target] != decision {
			t.Errorf("%s\nlive:     %s\nreplayed: %s", target, decision, replayed[target])
		}
	}
}
