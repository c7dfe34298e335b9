package intake

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What journald says of messages that it suppressed is about the unit that
// wrote them, and is counted even where only that unit is read.
func TestJournalSuppressed(t *testing.T) {
	h := newJournalHost(t)
	in := h.journal(func(o *JournalOptions) { o.Units = []string{"postfix@-.service"} })
	h.write("1.journal", "a")
	journald := []string{"MESSAGE_ID=" + suppressedID, "_UID=0", "_PID=99", "_COMM=systemd-journal", "SYSLOG_IDENTIFIER=systemd-journald",
		"_SYSTEMD_UNIT=systemd-journald.service"}
	h.put("1.journal", "Suppressed 5 messages from other.service", append(journald, "N_DROPPED=5", "OBJECT_SYSTEMD_UNIT=other.service")...)
	h.put("1.journal", "Suppressed 7 messages from postfix@-.service", append(journald, "N_DROPPED=7", "OBJECT_SYSTEMD_UNIT=postfix@-.service")...)
	l := run(t, in, Position{})
	l.expect("a", "Suppressed 7 messages from postfix@-.service")
	l.end()
	if s := in.Stats(); s.Lost != 7 || len(s.Losses) != 1 || s.Losses[0].Reason != lostSuppressed {
		t.Errorf("told as %+v", s)
	}
}

// Journal files are rotated and removed while they are followed.
func TestJournalRotation(t *testing.T) {
	h := newJournalHost(t)
	h.write("system.journal", "a")
	l := run(t, h.journal(nil), Position{})
	l.expect("a")
	for i := range 4 {
		was := filepath.Join(h.dir, "system.journal")
		mustDo(t, os.Rename(was, filepath.Join(h.dir, fmt.Sprintf("system@%d.journal", i))))
		h.write("system.journal", fmt.Sprint(i))
		l.expect(fmt.Sprint(i))
		if i > 0 {
			mustDo(t, os.Remove(filepath.Join(h.dir, fmt.Sprintf("system@%d.journal", i-1))))
		}
	}
	h.write("system.journal", "b")
	l.expect("b")
}

// Journals that were gathered from several hosts say whose each entry is.
func TestJournalHosts(t *testing.T) {
	h := newJournalHost(t)
	h.put("remote.journal", "a")
	h.put("remote.journal", "b", "_HOSTNAME=mx2", fmt.Sprintf("_MACHINE_ID=%032x", 0xc))
	l := runAs(t, h.journal(nil), Position{}, func(r Record) string {
		if r.Time.Before(time.UnixMicro(1795300000000000)) {
			t.Errorf("time is %v", r.Time)
		}
		return r.Host + " " + string(r.Line)
	})
	l.expect("mail a", "mx2 b")
}
