package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
	"weir/tests/lab/labtest"
)

// The tarpit, tried with swaks, as anybody would: it hangs for its whole
// timeout, and the mail servers see nothing of it.
func TestTarpit(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	idle, err := s.lab.OpenIMAP(t.Context(), attacker4)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	s.must("pin", attacker4.String(), "--action", "tarpit", "--reason", "waste its time")
	s.must("pin", lab.SourceText(attacker6), "--action", "tarpit")
	s.mustPoll(lab.Patience, "the open session to end", func() bool {
		_, err := idle.Command("NOOP")
		return err != nil
	})
	before := s.logLines()
	for from, to := range map[string]string{attacker4.String(): lab.Mail4.String(), attacker6.String(): lab.Mail6.String()} {
		begun := time.Now()
		out, err := s.swaks("--server", to, "--port", "587", "--local-interface", from, "--timeout", "3", "--to", "alice@"+lab.Domain)
		took := time.Since(begun)
		if err == nil || took < 3*time.Second || took > 20*time.Second || !strings.Contains(out, "=== Connected to "+to) || strings.Contains(out, "<-  220") {
			t.Errorf("swaks from %s, after %v: %v\n%s", from, took, err, out)
		}
	}
	if n := s.logLines(); n != before {
		log, _ := os.ReadFile(s.lab.MailLog())
		t.Errorf("the servers saw something:\n%s", labtest.Tail(string(log), int(n-before)))
	}
	out, err := s.swaks("--server", lab.Mail4.String(), "--port", "587", "--local-interface", other4.String(), "--timeout", "10", "--quit-after", "EHLO")
	if err != nil {
		t.Errorf("swaks from %s: %v\n%s", other4, err, out)
	}

	status := s.mustStatus()
	if status.Counter("answered") == 0 {
		t.Errorf("status counts no answers: %+v", status.Counters)
	}
	row := s.mustRow(attacker4.String())
	if row.Action != "tarpit" || row.Dropped == 0 {
		t.Errorf("list says: %+v", row)
	}
	s.mustContain(s.must("explain", attacker4.String()), "held in the tarpit", "waste its time")
	s.must("unpin", attacker4.String())
	s.wantReachable(true, attacker4)
}

// swaks runs in the world.
func (s *stage) swaks(args ...string) (string, error) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), "swaks", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := s.lab.World.Do(cmd.Run)
	return out.String(), err
}

// A rule may tarpit as well: the session that guesses ends, and the next
// connection is answered by the kernel.
func TestRuleTarpits(t *testing.T) {
	s := mustStage(t, "enforce", strings.Replace(rules, `action = "drop"`, `action = "tarpit"`, 1))
	session, err := s.lab.Submission(t.Context(), attacker4, 465)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for err = lab.ErrRefused; errors.Is(err, lab.ErrRefused); {
		err = session.Auth("alice", "guess")
	}
	if row := s.mustRow(attacker4.String()); row.Action != "tarpit" || row.Rule != "guessing" {
		t.Errorf("list says: %+v", row)
	}
	connected := s.lab.Reachable(t.Context(), attacker4, 465)
	if status := s.mustStatus(); !connected || status.Counter("answered") == 0 {
		t.Errorf("connected %t, but status counts %+v", connected, status.Counters)
	}
}

// A message of a source whose bytes are limited takes as long as it should, and
// arrives.
func TestLimitOfBytes(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.must("pin", good4.String(), "--action", "limit", "--bytes", "64K/s")
	s.mustContain(s.must("explain", good4.String()), "limited to 64K/s")
	session, err := s.lab.Submission(t.Context(), good4, 465)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Auth("alice", lab.Password); err != nil {
		t.Fatal(err)
	}
	const size, rate = 640 << 10, 64 << 10
	body := strings.Repeat(strings.Repeat("x", 62)+"\r\n", size/64)
	begun := time.Now()
	if err := session.Send("alice@"+lab.Domain, []string{"bob@" + lab.Domain}, "large", body); err != nil {
		t.Fatal(err)
	}
	share := size / time.Since(begun).Seconds() / rate
	t.Logf("%.2f of the rate", share)
	if share < 0.7 || share > 1.05 {
		t.Errorf("%.2f of the rate, want 0.7 to 1.05", share)
	}
	s.mustPoll(lab.Patience, "delivery", func() bool { return s.lab.Delivered("bob") == 1 })
	if status := s.mustStatus(); status.Counter("over_bytes") == 0 {
		t.Errorf("status counts nothing beyond the limit: %+v", status.Counters)
	}
}

// No source opens more connections than the ceiling has.
func TestCeiling(t *testing.T) {
	const ceiling = "\n[ceiling]\nrate = \"1/h\"\nburst = 3\nports = [587]\n"
	s := mustStage(t, "enforce", rules+ceiling)
	s.mustContain(s.must("status"), "1/h, burst 3 for every source, on 587")
	for n := range 3 {
		if !s.lab.Reachable(t.Context(), attacker4, 587) {
			t.Errorf("connection %d of 3 was refused", n+1)
		}
	}
	if s.lab.Reachable(t.Context(), attacker4, 587) || !s.lab.Reachable(t.Context(), other4, 587) || !s.lab.Reachable(t.Context(), attacker4, 465) {
		t.Error("the ceiling does not hold for the fourth connection, or for more than it should")
	}
	if status := s.mustStatus(); status.Counter("over_ceiling") == 0 {
		t.Errorf("status counts nothing over the ceiling: %+v", status.Counters)
	}
	if err := s.weir.Configure("enforce", rules+strings.Replace(ceiling, "1/h", "off", 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.weir.Signal(hangup); err != nil {
		t.Fatal(err)
	}
	s.mustPoll(lab.Patience, "the ceiling to go", func() bool { return s.lab.Reachable(t.Context(), attacker4, 587) })
}
