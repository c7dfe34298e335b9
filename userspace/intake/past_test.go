package intake

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What the journal holds is delivered to its end, or its last entries alone.
func TestJournalPast(t *testing.T) {
	h := newJournalHost(t)
	h.write("1.journal", "a", "b", "c")
	j := h.journal(nil)
	past := func(since time.Time, last int) (got []string) {
		t.Helper()
		mustDo(t, j.Past(t.Context(), since, last, func(batch []Record, _ Position) error {
			for _, r := range batch {
				got = append(got, string(r.Line))
			}
			return nil
		}))
		return got
	}
	if got := past(time.Unix(1, 0), 0); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("all: %q", got)
	}
	if got := past(time.Unix(1, 0), 2); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("the last two: %q", got)
	}
	if got := past(time.Now().Add(1000*time.Hour), 0); len(got) != 0 {
		t.Errorf("of the future: %q", got)
	}
	if err := j.Past(t.Context(), time.Unix(1, 0), 0, func([]Record, Position) error { return os.ErrClosed }); err != os.ErrClosed { //nolint:errorlint // it is to be handed on as it is
		t.Errorf("an error of who takes it: %v", err)
	}
}

func TestParts(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"mail.log", "mail.log.1", "mail.log.2.gz", "mail.log.3.xz", "mail.logbook"} {
		path := filepath.Join(dir, name)
		mustDo(t, os.WriteFile(path, []byte("x"), 0o600))
		mustDo(t, os.Chtimes(path, time.Time{}, time.Unix(int64(1000-i), 0)))
	}
	parts, err := Parts(filepath.Join(dir, "mail.log"))
	mustDo(t, err)
	var names []string
	for _, p := range parts {
		names = append(names, filepath.Base(p.Path))
	}
	if want := []string{"mail.log.2.gz", "mail.log.1", "mail.log"}; !slices.Equal(names, want) || !parts[2].Current || parts[1].Current || parts[2].Size != 1 {
		t.Errorf("got %q, want %q: %+v", names, want, parts)
	}
	if parts, err := Parts(filepath.Join(dir, "none.log")); err != nil || len(parts) != 0 {
		t.Errorf("of no log: %v, %v", parts, err)
	}
}
