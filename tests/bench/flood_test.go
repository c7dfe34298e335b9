package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/document"
	"weir/tests/lab"
)

// A short run measures every row: good clients come through when there is no
// flood, weir refuses the flood, and the table can be read.
func TestFlood(t *testing.T) {
	if err := lab.Check(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	report, err := benchFlood(t.Context(), floodOptions{sources: 1000, rates: []float64{20_000}, length: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.rows) != 5 {
		t.Fatalf("%d rows", len(report.rows))
	}
	for _, r := range report.rows {
		if r.missing != "" {
			t.Logf("%s NOT TESTED: %s", r.contender, r.missing)
			continue
		}
		if len(r.greetings.took) == 0 || len(r.mails.took) == 0 {
			t.Errorf("%s: nobody came through: %+v %+v", r.contender, r.greetings, r.mails)
		}
		if refused := r.flood && !r.open; r.flood && r.made == 0 || refused && (r.judged == 0 || r.judged > 1.1*r.made) {
			t.Errorf("%s: %.0f made, %.0f refused", r.contender, r.made, r.judged)
		}
	}
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(path, []byte(floodBegin+floodEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := document.Replace(path, floodBegin, floodEnd, report.String()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "| weir | 0.02 |") {
		t.Errorf("%v, %s", err, text)
	}
}

func TestTries(t *testing.T) {
	some := tries{failed: 1, took: []time.Duration{3 * time.Second, time.Millisecond, 2 * time.Millisecond}}
	if got, want := some.String(), "75.0 % of 4 | 2 ms | 3 s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (tries{failed: 2}).String(), "0 of 2 | – | –"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
