package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/tests/lab"
)

// A small store is in force after each start, by weir's own word.
func TestStart(t *testing.T) {
	if err := lab.Check(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	binary := filepath.Join(t.TempDir(), "weir")
	if err := lab.Build(t.Context(), binary); err != nil {
		t.Fatal(err)
	}
	text, err := benchStart(t.Context(), startOptions{weir: binary, decisions: 2000, runs: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2,000 decisions", "| into empty tables | ", "| over the tables of an earlier run | "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
