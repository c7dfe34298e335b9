package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"weir/tests/lab"
)

// harvesting drops a source that has asked for six recipients who do not
// exist.
const harvesting = `
[[rule]]
name = "harvesting"
events = ["unknown_recipient"]
per = "source"
measure = "events"
threshold = 6
within = "1h"
action = "drop"
for = "1h"
`

// mustHarvestStage is a stage on which Postfix asks about each recipient and
// at DATA.
func mustHarvestStage(t *testing.T) *stage {
	t.Helper()
	options := lab.Options{MainCF: func(l *lab.Lab) string {
		return strings.ReplaceAll(snippet(t, "policy-server.md", "main.cf", 2), "/run/weir/policy.sock", policySocket(l))
	}}
	return mustStageFor(t, options, "enforce", func(l *lab.Lab) string {
		return harvesting + strings.ReplaceAll(snippet(t, "policy-server.md", "toml", 2), "/run/weir/policy.sock", policySocket(l))
	})
}

// takeLogAway has weir read another log than the servers write.
func (s *stage) takeLogAway() {
	s.Helper()
	text, err := os.ReadFile(s.weir.Config)
	if err != nil {
		s.Fatal(err)
	}
	empty := s.lab.Path("log", "empty.log")
	mustWriteFile(s.T, empty, "")
	mustWriteFile(s.T, s.weir.Config, strings.ReplaceAll(string(text), s.lab.MailLog(), empty))
	if err := s.weir.Stop(); err != nil {
		s.Fatal(err)
	}
	s.mustStart()
}

// ask asks port 25 for recipients, in one message, and sends it to those that
// are taken; without send, it leaves the message. weir may close the session of one
// that it flags for that.
func (s *stage) ask(from netip.Addr, send bool, names ...string) {
	s.Helper()
	session, err := s.lab.Submission(s.Context(), from, 25)
	if err != nil {
		s.Fatal(err)
	}
	defer session.Close()
	to := make([]string, len(names))
	for i, name := range names {
		to[i] = name + "@" + lab.Domain
	}
	if send {
		if err := session.SendToSome("someone@elsewhere.test", to, "hello", "x"); err != nil && !errors.Is(err, lab.ErrRefused) && !errors.Is(err, syscall.ECONNRESET) {
			s.Fatal(err)
		}
		return
	}
	err = session.Command(250, "MAIL FROM:<someone@elsewhere.test>")
	for _, rcpt := range to {
		if err == nil || errors.Is(err, lab.ErrRefused) {
			err = session.Command(250, "RCPT TO:<%s>", rcpt)
		}
	}
	if err == nil || errors.Is(err, lab.ErrRefused) {
		err = session.Quit()
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		s.Fatal(err)
	}
}

func strangers(from, to int) (names []string) {
	for n := from; n < to; n++ {
		names = append(names, fmt.Sprintf("nobody%d", n))
	}
	return names
}

// A recipient that Postfix refuses after it has asked counts once, although
// both its requests and its log tell of it.
func TestHarvestToldTwiceCountsOnce(t *testing.T) {
	s := mustHarvestStage(t)
	s.ask(attacker4, true, append(strangers(0, 5), "alice")...)
	s.ask(good4, true, "alice")
	s.mustPoll(lab.Patience, "the log to tell of all and to be read", func() bool {
		log, _ := os.ReadFile(s.lab.MailLog())
		return strings.Count(string(log), "User unknown") == 5 && strings.Count(string(log), "disconnect from unknown["+good4.String()) == 1 && s.readAll(s.skipped)
	})
	if rows := s.mustList(); len(rows) != 0 {
		t.Fatalf("five unknown recipients counted as more: %+v", rows)
	}
	s.ask(attacker4, true, "nobody5", "alice")
	s.mustPoll(lab.Patience, "the sixth to count", func() bool { return len(s.mustList("--rule", "harvesting")) == 1 })
	s.mustContain(s.must("explain", attacker4.String()), "6 unknown recipients")
}

// Without a log, requests show the same; and of who names many and sends
// nothing they show what no refusal does.
func TestHarvestWithoutLog(t *testing.T) {
	s := mustHarvestStage(t)
	s.takeLogAway()
	s.ask(good4, true, "alice", "nobody0") // one who mistypes
	s.ask(attacker4, true, append(strangers(0, 5), "alice")...)
	if rows := s.mustList(); len(rows) != 0 {
		t.Fatalf("flagged: %+v", rows)
	}
	s.ask(attacker4, true, "nobody5", "alice")
	s.mustPoll(lab.Patience, "the sixth to count", func() bool { return len(s.mustList("--rule", "harvesting")) == 1 })
	s.mustContain(s.must("explain", attacker4.String()), "6 unknown recipients")
	s.wantReachable(false, attacker4)

	asked := 0
	for ; asked < 40 && len(s.mustList("--prefix", other4.String())) == 0; asked++ {
		if asked > 11 && !s.lab.Reachable(t.Context(), other4, 25) {
			continue // it is on its way to the list
		}
		s.ask(other4, false, fmt.Sprintf("nobody%d", asked))
	}
	if asked < 11 || asked == 40 {
		t.Errorf("a source that leaves each recipient is flagged after %d", asked)
	}
	s.wantReachable(true, good4)
}
