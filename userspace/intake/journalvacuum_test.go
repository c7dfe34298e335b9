package intake

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestJournalVacuumed has journalctl(1) remove the archived file that holds what
// was read last, and an entry that was not read yet. That is a loss, which is
// counted, and everything else is read, once.
func TestJournalVacuumed(t *testing.T) {
	h := newJournalHost(t)
	archive := func(n int) string { return fmt.Sprintf("system@%032x-%016x-%016x.journal", 0xabc, n, n) }
	h.write("system.journal", "a", "b")
	var at Position
	var got []string
	take := func(n int) Stats {
		t.Helper()
		in := h.journal(nil)
		enough := errors.New("enough")
		if err := in.Run(t.Context(), at, func(batch []Record, after Position) error {
			for _, r := range batch {
				got = append(got, string(r.Line))
			}
			if at = after; len(got) >= n {
				return enough
			}
			return nil
		}); err != enough {
			t.Fatal(err)
		}
		return in.Stats()
	}
	take(2)
	h.write("system.journal", "missed")
	for n := range 3 {
		mustDo(t, os.Rename(filepath.Join(h.dir, "system.journal"), filepath.Join(h.dir, archive(n))))
		h.write("system.journal", fmt.Sprint(n))
	}
	out, err := exec.Command("journalctl", "--directory="+h.dir, "--vacuum-files=3").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "freed") {
		t.Fatalf("vacuum: %v: %s", err, out)
	}
	left := must(filepath.Glob(filepath.Join(h.dir, "*.journal")))(t)
	t.Logf("%s%v", out, left)
	h.write("system.journal", "c")
	stats := take(6)
	if all := strings.Join(got, " "); all != "a b 0 1 2 c" || stats.Lost == 0 {
		t.Errorf("got %q, %+v", all, stats)
	}
}
