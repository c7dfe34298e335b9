package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

func TestGoldenList(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	s.golden(t, "list",
		[]string{"list"},
		[]string{"list", "--action", "drop"},
		[]string{"list", "--pinned=false", "--prefix", "203.0.113.0/24"},
		[]string{"list", "--rule", "nothing"},
		[]string{"list", "-o", "csv"},
		[]string{"list", "-o", "json"},
		[]string{"list", "-o", "json", "--action", "guard"},
	)
}

func TestGoldenExplain(t *testing.T) {
	b := controltest.Scene(noon)
	s := mustStage(t, b)
	s.golden(t, "explain",
		[]string{"explain", "203.0.113.9"},
		[]string{"explain", "bob@example.org"},
		[]string{"explain", "2001:db8::1"},
		[]string{"explain", "192.0.2.1"},
		[]string{"explain", "nobody@example.org"},
		[]string{"explain", "203.0.113.0/24", "-o", "json"},
	)
	b.Health.Mode = "observe"
	s.golden(t, "explain-observe", []string{"explain", "2001:db8:0:0::/64"}, []string{"explain", "203.0.113.77"})
}

func TestGoldenExplainKernel(t *testing.T) {
	s := mustStage(t, &controltest.Backend{})
	until := noon.Add(48 * time.Minute)
	d := control.Row{Source: "203.0.113.9", Action: 4, Since: noon.Add(-time.Minute), Until: &until, Rule: "source-failures", Reason: "20 failures in 10m"}
	e := &control.Explanation{Target: "203.0.113.9", Mode: "enforce", Verdict: "drop", Why: "it is the only decision that concerns it", InForce: true,
		Decisions: []control.Judgement{{Row: d, Wins: true, Offence: 1}},
		Kernel:    []control.KernelEntry{{Prefix: "203.0.113.9", Action: "drop", Expires: &until, Attempts: 1203, Dropped: 3609}}}
	a := &app{env: s.env}
	if err := a.tell(e); err != nil {
		t.Fatal(err)
	}
	s.out.WriteString("----\n")
	e.InForce, e.Kernel, e.Problem = false, nil, "the table is full (1,000,000 entries)"
	if err := a.tell(e); err != nil {
		t.Fatal(err)
	}
	s.compare(t, "explain-kernel", s.out.String())
}

func TestGoldenStatus(t *testing.T) {
	written, taken := noon.Add(-4*time.Second), noon.Add(-3*time.Hour)
	b := &controltest.Backend{Health: control.Status{
		Version: "1.0-test", Mode: "enforce", PID: 812, Started: noon.Add(-76 * time.Hour), Uptime: 76 * 3600,
		Ports: []uint16{25, 465, 587},
		Interfaces: []control.Interface{
			{Name: "eth0", Mode: "native", Reason: "the driver supports it"},
			{Name: "wg0", Mode: "tcx", Reason: "an interface of kind wireguard has no link layer that XDP could read"},
			{Name: "eth1", Mode: "none", Reason: "no such interface yet; attached as soon as it appears"},
		},
		Counters: []control.Counter{
			{Name: "pass_other_port", Packets: 1234567890, Rate: 5321.7},
			{Name: "drop", Packets: 3609, Rate: 0.25},
			{Name: "malformed"},
		},
		Intakes: []control.Intake{
			{Name: "file:/var/log/mail.log", Type: "file", Lines: 1234567, Events: 45678, Rate: 12.34, Lag: 0.02, NotUnderstood: 3,
				Sample: "Mar  1 11:59:58 mx postfix/smtpd[9]: something new from 203.0.113.9\x1b[2J"},
			{Name: "journal", Type: "journal", Lost: 12, Lag: 75, Error: "journalctl ended: exit status 1", Ignored: 7,
				Losses: []control.Loss{{Reason: "messages suppressed by journald", Count: 12, Last: noon.Add(-time.Minute)}},
				Found:  "Postfix, Dovecot: no syslog daemon writes files, the journal has it"},
			{Name: "syslog:udp:192.0.2.1:514", Type: "syslog", State: "following", Cut: 1, Refused: 2, Behind: 3000},
		},
		Notes:    []string{"nginx: tells of refused logins only at level info"},
		Patterns: []control.Pattern{{Name: "postfix-sasl-failed", Lines: 1234}, {Name: "dovecot-login", Lines: 7}},
		Table:    control.Table{Used: 1234, Fullest: 1234, Capacity: 1000000},
		ReadBack: &control.ReadBack{Checks: 5400, Last: noon.Add(-2 * time.Second), Differences: 2, Repaired: 2,
			Difference: "the program was taken off eth0", Found: &taken},
		Store:     control.Store{Path: "/var/lib/weir/weir.db", Bytes: 1300000, Checkpoint: &written},
		Decisions: control.Decisions{Total: 1234, Pinned: 12, Users: 3, ByAction: map[string]int{"drop": 1000, "limit": 222, "allow": 12}, Suspended: 2},
		Errors:    []control.Fault{{Time: noon.Add(-90 * time.Second), Text: "write store: no space left on device", Count: 40}, {Time: noon.Add(-3 * time.Hour), Text: "reload refused: weir.toml:3: unknown key"}},
	}}
	s := mustStage(t, b)
	s.golden(t, "status", []string{"status"}, []string{"status", "-o", "json"}, []string{"status", "-o", "yaml"})
	b.Health = control.Status{Version: "1.0-test", Mode: "observe", Store: control.Store{Path: "x", Error: "disk full"}}
	s.golden(t, "status-empty", []string{"status"})
	b.Health = control.Status{Version: "1.0-test", Mode: "enforce", ReadBack: &control.ReadBack{Last: noon, Differences: 1,
		Difference: "the pin folder /sys/fs/bpf/weir was removed", Standing: "the pin folder /sys/fs/bpf/weir was removed", Found: &taken}}
	s.golden(t, "status-broken", []string{"status"})
	b.Health = control.Status{Version: "1.0-test", Mode: "enforce",
		Table: control.Table{Used: 1_234_567, Fullest: 1_000_000, Capacity: 1_000_000, Refused: 1, Displaced: 23_456},
		Errors: []control.Fault{{Time: noon.Add(-time.Minute), Count: 3,
			Text: "write to the verdict table: put entries: verdict table is full: IPv4 sources: all 1000000 entries are taken, and there was no room for 1 more; 23456 that end first made room; " +
				"raise entries (now 1000000) below [limits] in /etc/weir/weir.toml and restart weir, or unpin or release what is not needed; what has no room passes"}}}
	s.golden(t, "status-full", []string{"status"}, []string{"status", "-o", "json"})
}

func TestGoldenHelp(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	for _, verb := range []string{"check", "detach", "explain", "list", "pin", "release", "replay", "run", "status", "unpin", "version"} {
		s.golden(t, "help-"+verb, []string{"help", verb})
	}
	for _, verb := range []string{"list", "show", "set", "reset"} {
		s.golden(t, "help-user-"+verb, []string{"help", "user", verb})
	}
	s.golden(t, "help-user", []string{"user"})
	s.golden(t, "help", []string{}, []string{"help", "exit-codes"})
}

func TestGoldenChanges(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	s.golden(t, "changes",
		[]string{"pin", "198.51.100.7", "--action", "drop", "--for", "30d", "--reason", "guesses passwords"},
		[]string{"pin", "2001:db8:1::1", "198.51.100.9/24", "--action", "limit", "--rate", "6/m", "--burst", "5"},
		[]string{"pin", "::ffff:192.0.2.1", "--action", "allow"},
		[]string{"unpin", "198.51.100.7"},
		[]string{"unpin", "198.51.100.7"},
		[]string{"unpin", "198.51.100.7", "198.51.100.0/24"},
		[]string{"release", "203.0.113.9"},
		[]string{"release", "203.0.113.9"},
		[]string{"release", "2001:db8::77"},
		[]string{"release", "bob@example.org"},
		[]string{"release", "bob@example.org"},
	)
}

func TestGoldenErrors(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	bad := mustWrite(t, s.dir, "bad.toml", "mode = \"observe\"\nports = [25,\n")
	off := mustWrite(t, s.dir, "off.toml", "control_socket = \"/nonexistent/weir.sock\"\n")
	s.golden(t, "errors",
		[]string{"lst"},
		[]string{"lists", "--nonsense"},
		[]string{"list", "--nonsense"},
		[]string{"list", "extra"},
		[]string{"list", "--action", "zap"},
		[]string{"list", "--prefix", "10.0.0.0/33"},
		[]string{"list", "-o", "xml"},
		[]string{"pin", "192.0.2.1"},
		[]string{"pin", "--action", "drop"},
		[]string{"pin", "192.0.2.1", "--action", "guard"},
		[]string{"pin", "192.0.2.1", "--action", "limit"},
		[]string{"pin", "192.0.2.1", "--action", "drop", "--rate", "6/m"},
		[]string{"pin", "192.0.2.1", "--action", "limit", "--rate", "6/m", "--burst", "0"},
		[]string{"pin", "192.0.2.1", "--action", "drop", "--for", "soon"},
		[]string{"pin", "bob", "--action", "drop"},
		[]string{"pin", "0.0.0.0/0", "--action", "drop"},
		[]string{"pin", "10.0.0.0/8", "2001::/16", "--action", "drop"},
		[]string{"explain"},
		[]string{"explain", "300.1.2.3"},
		[]string{"release"},
		[]string{"replay"},
		[]string{"--config", bad, "list"},
		[]string{"--config", "/nonexistent.toml", "list"},
		[]string{"--config", off, "status"},
	)
}

func TestGoldenHold(t *testing.T) {
	b := &controltest.Backend{Health: control.Status{Version: "1.0-test", Mode: "enforce", PID: 812}}
	s := mustStage(t, b)
	b.Health.Confirm = &control.Confirmation{Until: noon.Add(10 * time.Minute)}
	s.golden(t, "confirm", []string{"status"}, []string{"confirm"}, []string{"confirm"})
	b.Health.Mode, b.Health.Confirm = "observe", &control.Confirmation{Until: noon.Add(-time.Minute), Reverted: true}
	s.golden(t, "confirm-late", []string{"status"}, []string{"confirm"}, []string{"confirm", "--again"})
	b.Health.Confirm = nil
	s.golden(t, "panic", []string{"panic", "--lift"})
	b.Health.Panic = &control.Panic{Since: noon.Add(-time.Hour), By: "alice", Reason: "customers are shut out"}
	s.golden(t, "panic-on", []string{"status"}, []string{"list"}, []string{"panic", "--lift"})
}

// TestPanicWithoutAgent has the command do it alone, also with a configuration
// that is broken but for its socket.
func TestPanicWithoutAgent(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "weir.toml")
	text := fmt.Sprintf("control_socket = %q\nstate_dir = %q\nbpffs = %q\n", filepath.Join(dir, "none.sock"), dir, filepath.Join(dir, "none"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustStage(t, &controltest.Backend{})
	run := func(want int, args ...string) {
		t.Helper()
		if code := s.env.main(t.Context(), append(args, "--config", config)); code != want {
			t.Fatalf("%v: exit code %d, want %d; %s%s", args, code, want, s.out.String(), s.err.String())
		}
	}
	run(exitNothing, "panic", "--lift")
	run(exitOK, "panic", "--reason", "no agent")
	data, err := os.ReadFile(filepath.Join(dir, "panic"))
	if err != nil || !strings.Contains(string(data), "no agent") {
		t.Errorf("%s, %v", data, err)
	}
	run(exitOK, "panic", "--lift")
	run(exitNothing, "panic", "--lift")
}
