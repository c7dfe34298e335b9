package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/lab"
)

// Somebody guesses passwords from one IPv4 address and from one IPv6 /64
// with a new address for every attempt. Both are dropped at XDP, sessions
// that were open are closed, neighbours and the good user are served, and
// weir's commands tell what happened.
func TestGuessersAreDropped(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	mailers := []*lab.Mailer{
		s.lab.Mailer(t.Context(), good4, "alice", 50*time.Millisecond),
		s.lab.Mailer(t.Context(), good6, "bob", 50*time.Millisecond),
	}
	idle, err := s.lab.OpenIMAP(t.Context(), attacker4)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()

	// In one session, until the session dies.
	session, err := s.lab.Submission(t.Context(), attacker4, 465)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	attempts := 0
	for err = lab.ErrRefused; errors.Is(err, lab.ErrRefused) && attempts < 40; attempts++ {
		err = session.Auth("alice", fmt.Sprintf("guess %d", attempts))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || attempts == 40 {
		t.Errorf("the attacker's session was not closed after %d attempts: %v", attempts, err)
	}
	if _, err := idle.Command("NOOP"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the attacker's idle IMAP session was not closed: %v", err)
	}
	t.Logf("IPv4: session closed at attempt %d (threshold 5): %v", attempts, err)
	attempts = s.guess(func(n int) netip.Addr {
		b := attacker6.As16()
		binary.BigEndian.PutUint64(b[8:], uint64(n)<<32|0x5eed)
		return netip.AddrFrom16(b)
	})
	t.Logf("IPv6: dropped after %d attempts from as many addresses", attempts)

	s.wantReachable(false, attacker4)
	s.wantReachable(false, attacker6.Next())
	s.wantReachable(true, other4)
	s.wantReachable(true, other6)
	s.checkTruth(lab.SourceText(attacker4), "guess")
	s.checkTruth(lab.SourceText(attacker6), "guess")

	for _, m := range mailers {
		m.Stop()
		for _, err := range m.Errors() {
			t.Errorf("good user: %v", err)
		}
		if m.Sent() < 10 {
			t.Errorf("the good user sent %d messages only", m.Sent())
		}
		s.mustPoll(lab.Patience, "delivery of all good mail", func() bool { return m.Delivered() == m.Sent() })
		t.Logf("good user: %d sent, %d delivered", m.Sent(), m.Delivered())
	}
}

// checkTruth compares what the commands say of a dropped source with what
// the servers wrote and the kernel does.
func (s *stage) checkTruth(source, rule string) {
	s.Helper()
	row := s.mustRow(source)
	if row.Action != "drop" || !strings.HasPrefix(row.Rule, rule) || row.Pinned || row.Reason == "" || row.Dropped == 0 {
		s.Errorf("list says of %s: %+v", source, row)
	}
	if row.Until == nil || row.Until.Sub(row.Since) != time.Hour {
		s.Errorf("%s is listed from %v until %v, the rule says 1h", source, row.Since, row.Until)
	}
	if age := time.Since(row.Since); age < -time.Second || age > time.Minute {
		s.Errorf("%s is listed since %v, now is %v", source, row.Since, time.Now())
	}
	explained := s.must("explain", source)
	s.mustContain(explained, source, "drop", row.Rule)
	log, err := os.ReadFile(s.lab.MailLog())
	if err != nil {
		s.Fatal(err)
	}
	address := strings.TrimSuffix(source, "::/64")
	shown := 0
	for line := range strings.Lines(string(log)) {
		if line = strings.TrimSpace(line); strings.Contains(line, address) && strings.Contains(explained, line) {
			shown++
		}
	}
	if shown == 0 {
		s.Errorf("explain shows no line of the log for %s:\n%s", source, explained)
	}
	status := s.mustStatus()
	if status.Mode != "enforce" || len(status.Interfaces) != 1 || status.Interfaces[0].Mode != "native" {
		s.Errorf("status tells %+v", status)
	}
}

// stolenSources is the threshold of the rule "stolen".
const stolenSources = 6

// thief returns address n of those who use bob's password.
func thief(n int) netip.Addr {
	b := lab.NetB.Addr().As4()
	b[3] = byte(100 + n)
	return netip.AddrFrom4(b)
}

// spam lets address n send one message in bob's name. From the one on whose
// login reaches the threshold, weir may close the session before its end.
func (s *stage) spam(n int) {
	s.Helper()
	to := []string{"a@" + lab.Elsewhere, "b@" + lab.Elsewhere, "c@" + lab.Elsewhere}
	err := s.lab.Submit(s.Context(), thief(n), "bob", "bob@"+lab.Domain, to, "buy now")
	if err != nil && (n < stolenSources-1 || !errors.Is(err, syscall.ECONNRESET)) {
		s.Fatalf("message %d in bob's name: %v", n+1, err)
	}
}

// A stolen account: every source sends one message and never fails. When the
// user has too many sources, those are dropped and the next ones too.
func TestStolenAccountIsStopped(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	flagged := func(want int) func() bool { // bob himself is listed too
		return func() bool { return len(s.mustList("--rule", "stolen", "--action", "drop")) == want }
	}
	for n := range stolenSources {
		s.spam(n)
	}
	s.mustPoll(lab.Patience, "six sources flagged", flagged(stolenSources))
	for n := range stolenSources {
		s.wantReachable(false, thief(n))
	}
	// A source that comes later is served until it has logged in.
	s.wantReachable(true, thief(stolenSources))
	s.spam(stolenSources)
	s.mustPoll(lab.Patience, "a new source flagged", flagged(stolenSources+1))
	s.wantReachable(false, thief(stolenSources))
	s.mustContain(s.must("explain", thief(stolenSources).String()), "bob", "stolen")
	// Another user, who sends from an address of their own, is served.
	if err := s.lab.Submit(t.Context(), good4, "alice", "alice@"+lab.Domain, []string{"friend@" + lab.Elsewhere}, "hello"); err != nil {
		t.Error(err)
	}
}
