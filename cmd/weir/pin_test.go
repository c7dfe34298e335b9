package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

func TestPinFrom(t *testing.T) {
	b := &controltest.Backend{}
	s := mustStage(t, b)
	good := mustWrite(t, s.dir, "good.txt", "# a list\n192.0.2.1 # seen at home\n\n2001:db8::1\n")
	if code := s.weir("pin", "--from", good, "--action", "drop", "--reason", "feed"); code != 0 || s.out.String() != "2 prefixes are pinned to drop until unpinned\n" {
		t.Errorf("code %d: %s%s", code, &s.out, &s.err)
	}
	if d, ok := b.Pinned("192.0.2.1"); !ok || d.Reason != "seen at home" || d.Action.String() != "drop" {
		t.Errorf("pinned %+v", d)
	}
	s.stdin = strings.NewReader("198.51.100.0/24")
	if code := s.weir("pin", "--from", "-", "--action", "allow"); code != 0 {
		t.Errorf("standard input: code %d: %s", code, &s.err)
	}
	if _, ok := b.Pinned("198.51.100.0/24"); !ok {
		t.Error("standard input: not pinned")
	}
	if code := s.weir("unpin", "--from", good); code != 0 || b.Len() != 1 {
		t.Errorf("unpin: code %d, %d stand: %s", code, b.Len(), &s.err)
	}
	if code := s.weir("unpin", "--from", good); code != exitNothing {
		t.Errorf("unpin again: code %d: %s", code, &s.err)
	}
}

func TestPinFromBadLines(t *testing.T) {
	b := &controltest.Backend{}
	s := mustStage(t, b)
	text := "192.0.2.1\nbob\n192.0.2.2\n10.0.0.0/99 # wide\n" + strings.Repeat("x\n", 20)
	mustWrite(t, s.dir, "bad.txt", text)
	mustWrite(t, s.dir, "wide.txt", "192.0.2.1\n0.0.0.0/0\n")
	mustWrite(t, s.dir, "empty.txt", "# nothing\n")
	t.Chdir(s.dir)
	s.stdin = strings.NewReader(text)
	for from, want := range map[string]string{
		"bad.txt":   "bad.txt:2: bad source \"bob\"",
		"-":         "standard input:4: bad source \"10.0.0.0/99\"",
		"empty.txt": "empty.txt holds no prefix",
		"wide.txt":  "dropping 0.0.0.0/0 (every IPv4 address) is very wide: say --yes",
		"none.txt":  "none.txt: no such file",
		s.dir:       "is a directory",
	} {
		if code := s.weir("pin", "--from", from, "--action", "drop"); code != exitUsage || !strings.Contains(s.err.String(), want) {
			t.Errorf("%s: code %d: %s", from, code, &s.err)
		}
	}
	if s.weir("pin", "--from", "bad.txt", "--action", "drop"); !strings.Contains(s.err.String(), "not shown: 12") || !strings.Contains(s.err.String(), "nothing was changed") {
		t.Errorf("many bad lines: %s", &s.err)
	}
	if b.Len() != 0 {
		t.Errorf("%d pins stand", b.Len())
	}
}

// TestPinWithoutEffect is a pin that stands and does nothing.
func TestPinWithoutEffect(t *testing.T) {
	s := mustStage(t, &controltest.Backend{Health: control.Status{Mode: "observe"}})
	if code := s.weir("pin", "192.0.2.1", "--action", "drop"); code != 0 || !strings.Contains(s.err.String(), "no effect yet: weir only observes") {
		t.Errorf("observing: code %d: %s", code, &s.err)
	}
	s = mustStage(t, &controltest.Backend{Health: control.Status{Mode: "enforce"}})
	if code := s.weir("pin", "192.0.2.1", "--action", "drop"); code != 0 || s.err.Len() > 0 {
		t.Errorf("enforcing: code %d: %s", code, &s.err)
	}
}

func TestPinAsksBeforeWide(t *testing.T) {
	b := &controltest.Backend{}
	s := mustStage(t, b)
	s.isTerminal = func(any) bool { return true }
	for _, test := range []struct {
		answer string
		args   []string
		asked  string
		pinned bool
	}{
		{"\n", []string{"0.0.0.0/0"}, "Drop 0.0.0.0/0 (every IPv4 address)? Nobody there", false},
		{"no\n", []string{"::/0"}, "every IPv6 address", false},
		{"", []string{"10.0.0.0/8"}, "(16,777,216 addresses)", false},
		{"yes\n", []string{"10.0.0.0/8"}, "Drop 10.0.0.0/8", true},
		{"", []string{"10.0.0.0/8", "--yes"}, "", true},
		{"", []string{"10.1.0.0/16"}, "", true},
		{"", []string{"2001:db8::/32"}, "", true},
	} {
		s.stdin = strings.NewReader(test.answer)
		code := s.weir(append([]string{"pin", "--action", "drop"}, test.args...)...)
		if (code == 0) != test.pinned || (b.Len() == 1) != test.pinned || !strings.Contains(s.err.String(), test.asked) || (test.asked == "") != (s.err.Len() == 0) {
			t.Errorf("%q %v: code %d, %d stand: %s", test.answer, test.args, code, b.Len(), &s.err)
		}
		s.weir("unpin", test.args[0])
	}
	if code := s.weir("pin", "0.0.0.0/0", "--action", "allow"); code != 0 {
		t.Errorf("allowing all needs no question: code %d: %s", code, &s.err)
	}
}

// TestPinMany pins a list of several chunks with a bar on the terminal.
func TestPinMany(t *testing.T) {
	b := &controltest.Backend{}
	s := mustStage(t, b)
	s.isTerminal = func(stream any) bool { return stream == s.stderr }
	const n = 5 * control.MaxChunk
	f, err := os.Create(filepath.Join(s.dir, "many.txt"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "10.%d.%d.%d\n", i>>16&255, i>>8&255, i&255)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if code := s.weir("pin", "--from", f.Name(), "--action", "drop", "--for", "2w"); code != 0 || b.Len() != n || !strings.Contains(s.err.String(), "pin") {
		t.Errorf("code %d, %d stand: %s%s", code, b.Len(), &s.out, &s.err)
	}
	if code := s.weir("list", "-o", "csv"); code != 0 || strings.Count(s.out.String(), "\n") != n+1 {
		t.Errorf("list: code %d, %d lines", code, strings.Count(s.out.String(), "\n"))
	}
}
