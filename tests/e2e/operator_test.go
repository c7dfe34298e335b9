package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
)

// The operator's word over the rules' word, seen from the network.
func TestOperator(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	attacker, net := attacker4.String(), lab.NetA.String()

	s.guess(fixed(attacker4))
	s.wantReachable(false, attacker4)
	s.must("pin", attacker, "--action", "allow", "--reason", "a customer")
	s.wantReachable(true, attacker4)
	s.mustContain(s.must("explain", attacker), "allow", "a customer", "guessing")
	s.must("unpin", attacker)
	s.wantReachable(false, attacker4)
	s.must("release", attacker)
	s.wantReachable(true, attacker4)
	if row, found, _ := s.weir.Find(t.Context(), attacker); found {
		t.Errorf("listed after release: %+v", row)
	}

	// A whole net, and one address in it that stays allowed.
	s.must("pin", attacker, "--action", "allow")
	s.must("pin", net, "--action", "drop", "--for", "30d", "--reason", "no customers there")
	s.wantReachable(true, attacker4)
	s.wantReachable(false, other4)
	row := s.mustRow(net)
	if !row.Pinned || row.Until == nil || row.Until.Sub(row.Since).Round(time.Minute) != 30*24*time.Hour {
		t.Errorf("list says of the pin: %+v", row)
	}
	s.mustContain(s.must("explain", other4.String()), net, "no customers there")
	if rows := s.mustList("--pinned"); len(rows) != 2 {
		t.Errorf("pinned are %+v", rows)
	}
	s.must("unpin", net)
	s.must("unpin", attacker)
	s.wantReachable(true, other4)

	// IPv6: any address of the /64 stands for all of it.
	s.must("pin", attacker6.String(), "--action", "drop")
	s.wantReachable(false, attacker6.Next().Next())
	s.wantReachable(true, other6)
	s.must("unpin", lab.SourceText(attacker6))
	s.wantReachable(true, attacker6)
}

func TestLimit(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.must("pin", attacker4.String(), "--action", "limit", "--rate", "6/h", "--burst", "3")
	for n := range 3 {
		if !s.lab.Reachable(t.Context(), attacker4, 587) {
			t.Errorf("opening %d of a burst of 3 was dropped", n+1)
		}
	}
	s.wantReachable(false, attacker4)
	s.wantReachable(true, other4)
}

// Many pins at once, from standard input.
func TestPinMany(t *testing.T) {
	s := mustStage(t, "enforce", "protect = []\n"+rules) // so that pins alone fill the table
	const many = 50_000
	var input bytes.Buffer
	addr := netip.MustParseAddr("10.0.0.1")
	for range many {
		fmt.Fprintln(&input, addr)
		addr = addr.Next()
	}
	fmt.Fprintln(&input, attacker4)
	begun := time.Now()
	if _, err := s.weir.RunInput(t.Context(), input.Bytes(), "pin", "--from", "-", "--action", "drop"); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pins in %v", many+1, time.Since(begun).Round(time.Millisecond))
	if used := s.mustStatus().Table.Used; used != many+1 {
		t.Errorf("the kernel's table holds %d entries", used)
	}
	s.wantReachable(false, attacker4)
	s.wantReachable(true, other4)
}

// In observe mode weir decides and touches nothing.
func TestObserve(t *testing.T) {
	s := mustStage(t, "observe", rules)
	for n := range 8 {
		session, err := s.lab.Submission(t.Context(), attacker4, 465)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Auth("alice", fmt.Sprint(n)); err == nil {
			t.Fatal("a guess was right")
		}
		session.Close()
	}
	s.mustPoll(lab.Patience, "the decision", func() bool {
		_, found, err := s.weir.Find(t.Context(), attacker4.String())
		return err == nil && found
	})
	s.wantReachable(true, attacker4)
	s.mustContain(s.must("explain", attacker4.String()), "observe")
	err := s.lab.Mail.Do(func() error {
		out, err := exec.Command("ip", "-details", "link", "show", "dev", lab.Interface).CombinedOutput()
		if strings.Contains(string(out), "xdp") {
			t.Errorf("a program is attached:\n%s", out)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if pins, _ := filepath.Glob(s.lab.Path("bpf", "weir", "*")); len(pins) != 0 {
		t.Errorf("pins were made: %v", pins)
	}
}

// SIGHUP brings a new configuration and keeps all state; one that is wrong
// changes nothing and is reported.
func TestReload(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	s.guess(fixed(attacker4))
	s.must("pin", other4.String(), "--action", "drop")
	reload := func(more string) {
		t.Helper()
		if err := s.weir.Configure("enforce", more); err != nil {
			t.Fatal(err)
		}
		if err := s.weir.Signal(hangup); err != nil {
			t.Fatal(err)
		}
	}
	reload("allow = [\"" + attacker4.String() + "\"]\n" + rules)
	s.mustPoll(lab.Patience, "the allowed address to get through", func() bool {
		return s.lab.Reachable(t.Context(), attacker4, 587)
	})
	s.wantReachable(false, other4)

	reload("alow = []\n" + rules)
	s.mustPoll(lab.Patience, "the error to be reported", func() bool {
		return strings.Contains(s.lab.Output("weir"), "alow")
	})
	s.mustContain(s.lab.Output("weir"), s.weir.Config+":")
	s.wantReachable(true, attacker4)

	reload(rules)
	s.mustPoll(lab.Patience, "the decision to be in force again", func() bool {
		return !s.lab.Reachable(t.Context(), attacker4, 587)
	})
	if row := s.mustRow(attacker4.String()); row.Rule != "guessing" {
		t.Errorf("the decision was not kept: %+v", row)
	}
}

// What an operator may get wrong, and what they are told.
func TestBadInput(t *testing.T) {
	s := mustStage(t, "enforce", "")
	t.Run("second agent", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
		defer cancel()
		_, err := s.weir.Run(ctx, "run")
		if lab.ExitCode(err) <= 0 {
			t.Fatalf("a second agent ended with %v", err)
		}
		t.Log(err)
		if status := s.mustStatus(); status.PID != s.weir.PID() {
			t.Errorf("process %d answers, the first agent is %d", status.PID, s.weir.PID())
		}
	})
	t.Run("client without rights", func(t *testing.T) {
		var out []byte
		err := s.lab.Mail.Do(func() (err error) {
			out, err = exec.Command("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
				binaryFor(s, "nobody"), "--config", s.weir.Config, "list").CombinedOutput()
			return err
		})
		if lab.ExitCode(err) <= 0 {
			t.Fatalf("nobody may list: %v: %s", err, out)
		}
		t.Logf("%s", out)
		if !strings.Contains(string(out), "ermission") && !strings.Contains(string(out), "group weir") {
			t.Errorf("no word of missing rights: %s", out)
		}
	})
	t.Run("unknown key", func(t *testing.T) {
		bad := filepath.Join(t.TempDir(), "weir.toml")
		if err := os.WriteFile(bad, []byte("mode = \"observe\"\ninterface = [\"eth0\"]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := s.weir.Run(t.Context(), "run", "--config", bad)
		if lab.ExitCode(err) <= 0 || !strings.Contains(fmt.Sprint(err), bad+":2") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("bad prefix", func(t *testing.T) {
		_, err := s.weir.Run(t.Context(), "pin", "198.51.100.300", "--action", "drop")
		if lab.ExitCode(err) <= 0 || !strings.Contains(fmt.Sprint(err), "198.51.100.300") {
			t.Errorf("error: %v", err)
		}
	})
}

// binaryFor copies weir to where other users may run it: the lab's tools lie
// in a folder of root's.
func binaryFor(s *stage, name string) string {
	s.Helper()
	path := s.lab.Path("weir-" + name)
	text, err := os.ReadFile(s.weir.Binary)
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		s.Fatal(err)
	}
	return path
}
