package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/check"
)

// TestCheckReadsTheJournal: its last entries are looked at, and its last day is
// judged, as those of a file are.
func TestCheckReadsTheJournal(t *testing.T) {
	const remote = "/lib/systemd/systemd-journal-remote"
	if _, err := os.Stat(remote); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-journal-remote is missing: run tests/setup.sh test")
		}
		t.Skip("SKIPPED, NOT TESTED: systemd-journal-remote is missing")
	}
	b := newCheckBench(t)
	journal := filepath.Join(b.dir, "journal")
	if err := os.Mkdir(journal, 0o700); err != nil {
		t.Fatal(err)
	}
	begun := logEnd.Add(-2 * time.Hour)
	var export strings.Builder
	for i := range 60 {
		us := begun.Add(time.Duration(i) * time.Second).UnixMicro()
		fmt.Fprintf(&export, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_SOURCE_REALTIME_TIMESTAMP=%d\n_BOOT_ID=%032x\n_MACHINE_ID=%032x\n_HOSTNAME=mx\n", us, i*1000, us, 0xb, 0xa)
		fmt.Fprintf(&export, "_PID=7\n_UID=110\nSYSLOG_IDENTIFIER=postfix/submission/smtpd\n_SYSTEMD_UNIT=postfix@-.service\nMESSAGE=warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x, sasl_username=guess%d\n\n", i)
	}
	cmd := exec.Command(remote, "-o", filepath.Join(journal, "system.journal"), "-")
	cmd.Stdin = strings.NewReader(export.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("write journal: %v: %s", err, out)
	}
	text, _, _ := strings.Cut(mustRead(t, b.config), "[[intake]]")
	b.write(b.config, text+fmt.Sprintf("[[intake]]\ntype = \"journal\"\npath = %q\nunits = [\"postfix@*.service\"]\n", journal))
	r := b.mustCheck()
	f := want(t, r, "logs", "journal:"+journal, "the last 60 lines: 100 % of those that name clients understood, 60 events")
	if f.Severity != check.OK || !strings.Contains(fmt.Sprint(f.Details), "auth_failure source 203.0.113.9 user guess59") {
		t.Errorf("%+v", f)
	}
	want(t, r, "rules", "last day", "of 60 events since")
	want(t, r, "rules", "last day", "the rules flag 1 source or prefix")
}
