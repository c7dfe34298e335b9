package agent

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
)

var update = flag.Bool("update", false, "write golden files anew")

// logEnd is a little after the last line of testdata/mail.log.
var logEnd = time.Date(2026, 11, 20, 8, 40, 0, 0, time.UTC)

// bench is a folder in which agents run one after the other, in mode observe
// and without privileges unless a test says otherwise.
type bench struct {
	t       *testing.T
	dir     string
	log     string
	config  string
	mode    string
	bpffs   string
	allow   string
	extra   string // more of the configuration
	output  *syncBuffer
	decided []string // what the agents' engines decided, in order
	mu      sync.Mutex
	now     time.Time
	runs    bool // the clock, from the machine's time
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{
		t: t, dir: dir, log: filepath.Join(dir, "mail.log"), config: filepath.Join(dir, "weir.toml"),
		mode: "observe", bpffs: "/sys/fs/bpf/weir-test-none", allow: "198.51.100.0/28", output: &syncBuffer{}, now: logEnd,
	}
	b.write(b.log, "")
	b.configure()
	return b
}

func (b *bench) write(path, text string) {
	b.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) configure() {
	b.t.Helper()
	b.write(b.config, fmt.Sprintf(`mode = %q
state_dir = %q
control_socket = %q
bpffs = %q
allow = [%q]
protect = []
%s
[[intake]]
type = "file"
path = %q
`, b.mode, filepath.Join(b.dir, "state"), filepath.Join(b.dir, "c.sock"), b.bpffs, b.allow, b.extra, b.log))
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs {
		return time.Now()
	}
	return b.now
}

// runClock has the clock run, for tests in which ends go into the kernel and
// come back: an emulated machine needs seconds for that.
func (b *bench) runClock() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs = true
}

func (b *bench) setClock(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = t
}

func (b *bench) options() Options {
	o := DefaultOptions()
	o.ConfigPath = b.config
	o.Now = b.clock
	o.Logger = slog.New(slog.NewTextHandler(b.output, nil))
	o.fromStart = true
	o.decided = func(d *policy.Decision) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.decided = append(b.decided, describe(d))
	}
	return o
}

// describe writes everything of a decision that must be reproducible.
func describe(d *policy.Decision) string {
	return fmt.Sprintf("%s %v %v since %s until %s offence %d: %s (%d in %d–%d)", d.Rule, d.Action, d.Target,
		d.Since.UTC().Format(time.RFC3339Nano), d.Until.UTC().Format(time.RFC3339Nano), d.Offence, d.Reason,
		d.Evidence.Count, d.Evidence.FirstLine, d.Evidence.LastLine)
}

func (b *bench) mustStart() *Agent {
	b.t.Helper()
	a, err := start(b.options())
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.output)
	}
	b.t.Cleanup(func() { kill(a) })
	return a
}

func mustStop(t *testing.T, a *Agent) {
	t.Helper()
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
}

// kill ends an agent as kill -9 does: whatever is not stored by now is lost.
func kill(a *Agent) {
	a.writer.mu.Lock()
	s := a.writer.store
	a.writer.mu.Unlock()
	_ = s.Close()
	_ = a.stop() // fails to store anything
}

func mustAppend(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mustReach waits until the agent has read n lines of its one input.
func mustReach(t *testing.T, a *Agent, n int) {
	t.Helper()
	mustWait(t, fmt.Sprintf("%d lines to be read", n), func() bool {
		var lines uint64
		if err := a.core.do(t.Context(), func() {
			for _, p := range a.core.positions {
				lines = p.Lines
			}
		}); err != nil {
			t.Fatal(err)
		}
		return lines >= uint64(n)
	})
}

func mustWait(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func mustRows(t *testing.T, a *Agent, f control.Filter) []control.Row {
	t.Helper()
	var rows []control.Row
	for row, err := range a.Decisions(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// replayed is what replay decides over text, described as the agents'
// decisions are.
func (b *bench) replayed(text string) []string {
	b.t.Helper()
	path := filepath.Join(b.dir, "replay.log")
	b.write(path, text)
	var described []string
	o := ReplayOptions{ConfigPath: b.config, Logs: []string{path}, Output: OutputNone}
	o.decided = func(d *policy.Decision) { described = append(described, describe(d)) }
	if err := Replay(context.Background(), o, &bytes.Buffer{}); err != nil {
		b.t.Fatal(err)
	}
	return described
}

func lineCount(s string) int { return strings.Count(s, "\n") }
