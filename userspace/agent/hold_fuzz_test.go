package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzHold reads the files that keep the configured mode from taking effect, which
// a hand may have written. Any file of a panic is one; one of a confirmation that
// says nothing ends enforcement, and none lets it go on beyond what was asked.
func FuzzHold(f *testing.F) {
	for _, text := range []string{
		"", `{"since":"2026-11-20T08:00:00Z","by":"root","reason":"the wrong people"}`, `{"until":"2026-11-20T08:45:00Z"}`,
		`{"until":"2026-11-20T08:00:00Z","reverted":true}`, `{"confirmed":true}`, "null", "[1]", `{"since":7}`, "\x00",
	} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, name := range []string{panicFile, confirmFile} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a := &Agent{log: slog.New(slog.DiscardHandler)}
		a.o.Now, a.o.Confirm = func() time.Time { return logEnd }, 10*time.Minute
		if p := a.readPanic(dir); p == nil {
			t.Error("a file of a panic is none")
		}
		first := a.awaited(dir)
		if first != nil && !first.Reverted && !first.Until.After(logEnd) {
			t.Errorf("enforced beyond its end: %+v", first)
		}
		if again := a.awaited(dir); (again == nil) != (first == nil) || again != nil && (again.Reverted != first.Reverted || !again.Until.Equal(first.Until)) {
			t.Errorf("%+v, read again %+v", first, again)
		}
	})
}
