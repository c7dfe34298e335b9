package intake

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// host is a mail host reduced to its log: a writer that keeps its file open,
// a rotation that moves it away, and a follower of which each step is a call.
// Its clock stands still between steps, and the files carry its time.
type host struct {
	t     testing.TB
	path  string
	clock time.Time
	out   *os.File // what the writer has open
	wrote []string // every whole line, in order
	part  string   // begun and not finished
	names func(age int) string

	o    FileOptions
	f    *follower
	m    *meter
	got  []string
	last Position
}

func newHost(t testing.TB) *host {
	h := &host{
		t: t, path: filepath.Join(t.TempDir(), "mail.log"),
		clock: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
	}
	h.o = DefaultFileOptions()
	h.o.Path = h.path
	h.o.FromStart = true
	h.names = func(age int) string { return fmt.Sprintf("%s.%d", h.path, age) }
	t.Cleanup(func() {
		h.stop()
		if h.out != nil {
			h.out.Close()
		}
	})
	return h
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		mustDo(t, err)
		return v
	}
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *host) tick() { h.clock = h.clock.Add(time.Second) }

// reopen is what the writer does when it is told that its log was rotated.
func (h *host) reopen() {
	h.t.Helper()
	if h.out != nil {
		h.out.Close()
	}
	h.out = must(os.OpenFile(h.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600))(h.t)
	h.stamp(h.out.Name())
}

func (h *host) stamp(path string) { os.Chtimes(path, h.clock, h.clock) }

// raw appends bytes and gives the file the clock's time, whatever its name is.
func (h *host) raw(s string) {
	h.t.Helper()
	if h.out == nil {
		h.reopen()
	}
	must(io.WriteString(h.out, s))(h.t)
	h.stamp(fmt.Sprintf("/proc/self/fd/%d", h.out.Fd()))
}

func (h *host) write(lines ...string) {
	h.t.Helper()
	for _, l := range lines {
		h.raw(l + "\n")
		h.wrote = append(h.wrote, h.part+l)
		h.part = ""
	}
}

func (h *host) begin(s string) {
	h.t.Helper()
	h.raw(s)
	h.part += s
}

// shift makes room for the youngest rotated file.
func (h *host) shift() {
	h.t.Helper()
	for age := 20; age > 0; age-- {
		for _, ext := range []string{"", ".gz"} {
			err := os.Rename(h.names(age)+ext, h.names(age+1)+ext)
			if err != nil && !os.IsNotExist(err) {
				h.t.Fatal(err)
			}
		}
	}
}

// rename rotates as logrotate does; the writer goes on with what it has open.
func (h *host) rename(create bool) {
	h.t.Helper()
	h.shift()
	mustDo(h.t, os.Rename(h.path, h.names(1)))
	if create {
		mustDo(h.t, os.WriteFile(h.path, nil, 0o600))
		h.stamp(h.path)
	}
}

func (h *host) copyTruncate() {
	h.t.Helper()
	h.shift()
	h.copy()
	h.truncate()
}

func (h *host) copy() {
	h.t.Helper()
	mustDo(h.t, os.WriteFile(h.names(1), must(os.ReadFile(h.path))(h.t), 0o600))
	h.stamp(h.names(1))
}

func (h *host) truncate() {
	h.t.Helper()
	mustDo(h.t, os.Truncate(h.path, 0))
	h.stamp(h.path)
}

// compress packs a rotated file and keeps its time, as gzip(1) does.
func (h *host) compress(age int) bool {
	h.t.Helper()
	name := h.names(age)
	b, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return false
	}
	mustDo(h.t, err)
	info := must(os.Stat(name))(h.t)
	mustDo(h.t, os.WriteFile(name+".gz", gzipped(h.t, b), 0o600))
	mustDo(h.t, os.Chtimes(name+".gz", info.ModTime(), info.ModTime()))
	mustDo(h.t, os.Remove(name))
	return true
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	must(z.Write(b))(t)
	mustDo(t, z.Close())
	return buf.Bytes()
}

// start follows the log from the position, which has been through JSON.
func (h *host) start(from Position) {
	h.t.Helper()
	var p Position
	mustDo(h.t, json.Unmarshal(must(json.Marshal(from))(h.t), &p))
	h.m = newMeter("test", TypeFile, slog.New(slog.NewTextHandler(h.t.Output(), nil)))
	h.f = newFollower(h.o, h.m, p, func(batch []Record, after Position) error {
		for _, r := range batch {
			h.got = append(h.got, string(r.Line))
			if r.Number != uint64(len(h.got)) {
				h.t.Fatalf("record %d has number %d", len(h.got), r.Number)
			}
		}
		if after.Lines != uint64(len(h.got)) {
			h.t.Fatalf("position after record %d says %d", len(h.got), after.Lines)
		}
		h.last = after
		return nil
	})
	h.f.now = func() time.Time { return h.clock }
}

func (h *host) stop() {
	if h.f != nil {
		h.f.close()
		h.f = nil
	}
}

func (h *host) poll() {
	h.t.Helper()
	if h.f == nil {
		h.start(h.last)
	}
	must(h.f.poll())(h.t)
}

// check polls and compares what was delivered with what was written.
func (h *host) check() {
	h.t.Helper()
	h.poll()
	h.equal(h.wrote)
}

func (h *host) equal(want []string) {
	h.t.Helper()
	if slices.Equal(h.got, want) {
		return
	}
	i := 0
	for i < len(h.got) && i < len(want) && h.got[i] == want[i] {
		i++
	}
	show := func(l []string) string { return brief(strings.Join(l[min(i, len(l)):min(i+3, len(l))], " | ")) }
	h.t.Fatalf("delivered %d lines of %d; from line %d:\n got %s\nwant %s", len(h.got), len(want), i+1, show(h.got), show(want))
}

func brief(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

func (h *host) lost() uint64 { return h.m.stats().Lost }
