package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// stage is a command line in front of an agent that keeps all in memory.
type stage struct {
	env
	backend *controltest.Backend
	config  string
	dir     string
	out     bytes.Buffer
	err     bytes.Buffer
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))

// mustStage serves backend until the test ends.
func mustStage(t testing.TB, backend *controltest.Backend) *stage {
	t.Helper()
	s := &stage{backend: backend, dir: t.TempDir()}
	socket := filepath.Join(s.dir, "s")
	s.config = mustWrite(t, s.dir, "weir.toml", "control_socket = \""+socket+"\"\nno_such_key = 1\n")
	s.env = env{
		stdin:      strings.NewReader(""),
		stdout:     &s.out,
		stderr:     &s.err,
		now:        func() time.Time { return noon },
		isTerminal: func(any) bool { return false },
		version:    "1.0-test",
	}
	o := control.DefaultOptions()
	o.Socket, o.Version, o.Now, o.Logger = socket, s.version, s.now, slog.New(slog.DiscardHandler)
	server, err := control.Listen(backend, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

func mustWrite(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// weir runs a command line and returns its exit code.
func (s *stage) weir(args ...string) int {
	s.out.Reset()
	s.err.Reset()
	return s.main(context.Background(), append([]string{"--config", s.config}, args...))
}

// golden compares what the command lines write and return with a file.
func (s *stage) golden(t *testing.T, name string, lines ...[]string) {
	t.Helper()
	var got bytes.Buffer
	for i, args := range lines {
		if i > 0 {
			got.WriteString("\n")
		}
		code := s.weir(args...)
		got.WriteString("$ weir")
		for _, arg := range args {
			if strings.ContainsAny(arg, " ") {
				arg = "'" + arg + "'"
			}
			got.WriteString(" " + arg)
		}
		got.WriteString("\n")
		got.Write(s.out.Bytes())
		if s.err.Len() > 0 {
			got.WriteString("--- standard error\n")
			got.Write(s.err.Bytes())
		}
		if code != 0 {
			got.WriteString("--- exit code " + string(rune('0'+code)) + "\n")
		}
	}
	s.compare(t, name, got.String())
}

// compare compares text with a golden file.
func (s *stage) compare(t *testing.T, name, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, s.dir, "DIR")
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with go test -update)", err)
	}
	if text != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s\nwant:\n%s", path, text, want)
	}
}
