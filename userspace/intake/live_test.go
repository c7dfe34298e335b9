package intake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deadline is how long a test waits for the real world.
const deadline = 20 * time.Second

// live runs an input and gives what it delivers to a channel.
type live struct {
	t       testing.TB
	records chan string
	done    chan error
	stop    context.CancelFunc
}

func run(t testing.TB, in Input, from Position) *live {
	t.Helper()
	return runAs(t, in, from, func(r Record) string { return string(r.Line) })
}

// runAs gives what show makes of each record.
func runAs(t testing.TB, in Input, from Position, show func(Record) string) *live {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &live{t: t, records: make(chan string, 1000), done: make(chan error, 1), stop: cancel}
	began := make(chan struct{}, 1)
	go func() {
		l.done <- in.Run(ctx, from, func(batch []Record, after Position) error {
			select {
			case began <- struct{}{}:
			default:
			}
			for _, r := range batch {
				l.records <- show(r)
			}
			return nil
		})
	}()
	if in.Stats().Type == TypeFile && from == (Position{}) {
		<-began // the position of an input that was never read
	}
	t.Cleanup(l.end)
	return l
}

func (l *live) end() {
	l.stop()
	select {
	case err := <-l.done:
		if err != nil {
			l.t.Errorf("input ended with %v", err)
		}
		l.done <- nil
	case <-time.After(deadline):
		l.t.Error("input does not end")
	}
}

func (l *live) expect(want ...string) {
	l.t.Helper()
	for _, w := range want {
		select {
		case got := <-l.records:
			if got != w {
				l.t.Fatalf("got %q, want %q", brief(got), brief(w))
			}
		case err := <-l.done:
			l.t.Fatalf("input ended with %v", err)
		case <-time.After(deadline):
			l.t.Fatalf("%q did not come", brief(w))
		}
	}
}

func mustFile(t testing.TB, o FileOptions) *File { t.Helper(); return must(NewFile(o))(t) }

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f := must(os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600))(t)
	must(f.WriteString(text))(t)
	mustDo(t, f.Close())
}

func TestFileLive(t *testing.T) {
	for name, polling := range map[string]bool{"inotify": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			o := DefaultFileOptions()
			o.Path = filepath.Join(t.TempDir(), "mail.log")
			o.Polling, o.Interval = polling, 5*time.Millisecond
			appendTo(t, o.Path, "before\n")
			l := run(t, mustFile(t, o), Position{})
			for i := range 20 {
				appendTo(t, o.Path, fmt.Sprintf("%d\n", i))
				l.expect(fmt.Sprint(i))
			}
			mustDo(t, os.Rename(o.Path, o.Path+".1"))
			appendTo(t, o.Path+".1", "old\n")
			l.expect("old")
			appendTo(t, o.Path, "new\n")
			l.expect("new")
			mustDo(t, os.Truncate(o.Path, 0))
			appendTo(t, o.Path, "cut\n")
			l.expect("cut")
		})
	}
}

// A folder that appears late, and is replaced later, is watched nevertheless.
func TestFileLiveFolder(t *testing.T) {
	o := DefaultFileOptions()
	dir := filepath.Join(t.TempDir(), "log")
	o.Path = filepath.Join(dir, "mail.log")
	o.Interval = 5 * time.Millisecond
	l := run(t, mustFile(t, o), Position{})
	mustDo(t, os.Mkdir(dir, 0o700))
	appendTo(t, o.Path, "a\n")
	l.expect("a")
	mustDo(t, os.Rename(dir, dir+".old"))
	mustDo(t, os.Mkdir(dir, 0o700))
	appendTo(t, o.Path, "b\n")
	l.expect("b")
}

func TestFileSinkError(t *testing.T) {
	o := DefaultFileOptions()
	o.Path = filepath.Join(t.TempDir(), "mail.log")
	o.FromStart = true
	appendTo(t, o.Path, "a\n")
	full := errors.New("disk full")
	err := mustFile(t, o).Run(t.Context(), Position{}, func(batch []Record, _ Position) error {
		if len(batch) > 0 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) {
		t.Errorf("error of the sink came back as %v", err)
	}
}

func TestOptions(t *testing.T) {
	file, journal, syslog := DefaultFileOptions(), DefaultJournalOptions(), DefaultSyslogOptions()
	file.Path = "mail.log"
	journal.Units = []string{"--vacuum-size=1"}
	journal.Matches = []string{"--vacuum-size=1"}
	syslog.Path = "/" + strings.Repeat("x", 200)
	syslog.Mode = os.ModeSetuid
	for err, want := range map[error]string{
		file.Validate():    "absolute path",
		journal.Validate(): "is not a unit name",
		syslog.Validate():  "longer than 107",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestNotRegular(t *testing.T) {
	o := DefaultFileOptions()
	o.Path = t.TempDir()
	m := newMeter("test", TypeFile, nil)
	f := newFollower(o, m, Position{}, func([]Record, Position) error { return nil })
	must(f.poll())(t)
	if s := m.stats(); !strings.Contains(s.Error, "not a regular file") {
		t.Errorf("a folder is followed: %+v", s)
	}
}

// BenchmarkFile reads what appears in a file that is followed already.
func BenchmarkFile(b *testing.B) {
	text := sampleLog(1_000)
	o := DefaultFileOptions()
	o.Path = filepath.Join(b.TempDir(), "mail.log")
	out := must(os.Create(o.Path))(b)
	defer out.Close()
	must(out.Write(text))(b)
	lines := 0
	f := newFollower(o, newMeter("bench", TypeFile, nil), Position{}, func(batch []Record, _ Position) error {
		lines += len(batch)
		return nil
	})
	defer f.close()
	must(f.poll())(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	lines = 0
	for b.Loop() {
		b.StopTimer()
		must(out.Write(text))(b)
		b.StartTimer()
		must(f.poll())(b)
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	if lines != b.N*1_000 {
		b.Fatalf("%d lines of %d", lines, b.N*1_000)
	}
}

// BenchmarkLatency is the time from before the write of one line until the
// sink has it.
func BenchmarkLatency(b *testing.B) {
	o := DefaultFileOptions()
	o.Path = filepath.Join(b.TempDir(), "mail.log")
	out := must(os.Create(o.Path))(b)
	defer out.Close()
	l := run(b, mustFile(b, o), Position{})
	for b.Loop() {
		must(out.WriteString("one line of a log\n"))(b)
		<-l.records
	}
}

// A file system that tells nothing of writes, as a network one that another
// host writes to, is polled before long.
func TestWatcherDeaf(t *testing.T) {
	o := DefaultFileOptions()
	o.Path = filepath.Join(t.TempDir(), "mail.log")
	w := newWatcher(o, newMeter("test", TypeFile, nil))
	defer w.close()
	if w.every != safetyInterval {
		t.Fatalf("looks every %v where inotify works", w.every)
	}
	look := func(progress bool) {
		w.tick.Reset(time.Millisecond)
		w.wait(t.Context(), progress)
	}
	look(false)
	for range deafAfter {
		look(true)
	}
	w.wait(t.Context(), true)
	if w.every != o.Interval {
		t.Errorf("looks every %v where inotify is deaf", w.every)
	}
	appendTo(t, o.Path, "a\n") // now it is heard
	for i := 0; w.every != safetyInterval; i++ {
		if i == 10 {
			t.Fatalf("looks every %v where inotify works again", w.every)
		}
		w.wait(t.Context(), false)
	}
}
