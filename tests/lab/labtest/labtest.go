// Package labtest sets package lab up for tests: with weir built once, with what
// was written shown where a test fails, and with nothing skipped on CI.
package labtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
)

// Main is TestMain of a package: it builds weir into a file of its own for each of
// binaries, runs the tests, and returns the exit status.
func Main(m *testing.M, binaries ...*string) int {
	if os.Geteuid() != 0 {
		return m.Run() // New says why nothing runs
	}
	dir, err := os.MkdirTemp("", "weir-built-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for i, binary := range binaries {
		*binary = filepath.Join(dir, fmt.Sprintf("weir%d", i))
		if err := lab.Build(context.Background(), *binary); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// New starts a lab that ends with the test. Where the machine lacks what it needs
// the test is skipped, and fails on CI.
func New(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	l, err := lab.New(t.Context(), o)
	if errors.Is(err, lab.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED, nothing was tested: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(l.MailLog())
			t.Logf("weir wrote last:\n%s\nthe mail log ends with:\n%s", Tail(l.Output("weir"), 100), Tail(string(log), 40))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Weir configures an agent on the lab's mail host, and does not start it.
func Weir(t *testing.T, l *lab.Lab, binary, mode, more string) *lab.Weir {
	t.Helper()
	w, err := l.Weir(binary, mode, more)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Start runs the agent until it answers.
func Start(t *testing.T, w *lab.Weir) {
	t.Helper()
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Poll waits for a condition of the real world.
func Poll(t *testing.T, limit time.Duration, what string, ready func() bool) {
	t.Helper()
	if err := lab.Poll(t.Context(), limit, what, ready); err != nil {
		t.Fatal(err)
	}
}

// Tail returns the last n lines of a text.
func Tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
