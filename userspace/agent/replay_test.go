package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mustReplay(t *testing.T, o ReplayOptions) string {
	t.Helper()
	var out bytes.Buffer
	if err := Replay(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestReplayGolden(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		golden string
		o      ReplayOptions
	}{
		{"decisions.jsonl", ReplayOptions{Output: OutputJSONL}},
		{"decisions.txt", ReplayOptions{Output: OutputText}},
		{"events.jsonl", ReplayOptions{Output: OutputNone, Events: true}},
		{"both.jsonl", ReplayOptions{Output: OutputJSONL, Events: true}},
	} {
		c.o.ConfigPath, c.o.Logs = b.config, []string{"testdata/mail.log"}
		got := mustReplay(t, c.o)
		if again := mustReplay(t, c.o); again != got {
			t.Errorf("%s: a second replay wrote other bytes", c.golden)
		}
		path := filepath.Join("testdata", c.golden)
		if *update {
			b.write(path, got)
		}
		if want := mustRead(t, path); got != want {
			t.Errorf("%s differs; run go test -update and look at the difference:\n%s", c.golden, got)
		}
	}
}

// TestReplayForm holds the output to the names that others script against.
func TestReplayForm(t *testing.T) {
	b := newBench(t)
	o := ReplayOptions{ConfigPath: b.config, Logs: []string{"testdata/mail.log"}, Output: OutputJSONL}
	for line := range strings.Lines(mustReplay(t, o)) {
		var d map[string]any
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, key := range []string{"time", "action", "until", "rule", "reason", "evidence"} {
			if d[key] == nil {
				t.Errorf("%s: no %s", line, key)
			}
		}
		if (d["source"] == nil) == (d["user"] == nil) {
			t.Errorf("%s: not exactly one of source and user", line)
		}
		evidence := d["evidence"].(map[string]any)
		if evidence["count"] == nil || evidence["first_line"] == nil || evidence["last_line"] == nil {
			t.Errorf("%s: evidence is not complete", line)
		}
	}
	if strings.Contains(mustReplay(t, o), "198.51.100.") {
		t.Error("an allowed source was flagged")
	}
	o.ConfigPath = ""
	if !strings.Contains(mustReplay(t, o), `"source":"198.51.100.7/32"`) {
		t.Error("without an allow list the same source is not flagged")
	}
}

func TestReplayInputs(t *testing.T) {
	b := newBench(t)
	text := mustRead(t, "testdata/mail.log")
	o := ReplayOptions{ConfigPath: b.config, Logs: []string{"testdata/mail.log"}, Output: OutputJSONL}
	want := mustReplay(t, o)

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.write(filepath.Join(b.dir, "mail.log.1.gz"), packed.String())
	o.Logs = []string{filepath.Join(b.dir, "mail.log.1.gz")}
	if mustReplay(t, o) != want {
		t.Error("the compressed log gives other decisions")
	}

	o.Logs, o.Stdin = []string{"-"}, strings.NewReader(text)
	if mustReplay(t, o) != want {
		t.Error("standard input gives other decisions")
	}

	half := strings.Index(text, "\n2026-11-20T06:4") + 1
	b.write(filepath.Join(b.dir, "old"), text[:half])
	b.write(filepath.Join(b.dir, "new"), text[half:])
	o.Logs = []string{filepath.Join(b.dir, "old"), filepath.Join(b.dir, "new")}
	var reads, totals []int64
	o.Progress = func(read, total int64) { reads, totals = append(reads, read), append(totals, total) }
	if got := mustReplay(t, o); got != want {
		t.Errorf("cut in two, the log gives other decisions:\n%s", got)
	}
	if n := len(reads); n == 0 || reads[n-1] != int64(len(text)) || totals[0] != int64(len(text)) {
		t.Errorf("progress %v of %v, want the last to be %d", reads, totals, len(text))
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReplayErrors(t *testing.T) {
	b := newBench(t)
	ok := ReplayOptions{ConfigPath: b.config, Logs: []string{"testdata/mail.log"}, Output: OutputJSONL, Events: true}

	missing := ok
	missing.Logs = []string{"testdata/mail.log", "testdata/nothing.log"}
	var out bytes.Buffer
	if err := Replay(t.Context(), missing, &out); !errors.Is(err, os.ErrNotExist) || out.Len() > 0 {
		t.Errorf("missing log: %v after %d bytes of output", err, out.Len())
	}
	bad := ok
	bad.Output = "xml"
	if err := Replay(t.Context(), bad, &out); err == nil || !strings.Contains(err.Error(), "jsonl") {
		t.Errorf("bad output: %v", err)
	}
	b.write(b.config, "mod = 'observe'\n")
	if err := Replay(t.Context(), ok, &out); err == nil || !strings.Contains(err.Error(), b.config+":1") {
		t.Errorf("bad configuration: %v", err)
	}
	ok.ConfigPath = ""
	if err := Replay(t.Context(), ok, failingWriter{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("output that cannot be written: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ok.Logs, ok.Stdin = []string{"-"}, strings.NewReader(strings.Repeat("x\n", 3*batchCount))
	if err := Replay(ctx, ok, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkReplay(b *testing.B) {
	log, err := os.ReadFile("testdata/mail.log")
	if err != nil {
		b.Fatal(err)
	}
	text := bytes.Repeat(log, 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		o := ReplayOptions{Logs: []string{"-"}, Stdin: bytes.NewReader(text), Output: OutputJSONL}
		if err := Replay(b.Context(), o, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(bytes.Count(text, []byte("\n")))*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
