package intake

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestFollowFirstStart(t *testing.T) {
	h := newHost(t)
	h.o.FromStart = false
	h.write("old", "older")
	h.begin("half ")
	h.poll()
	h.equal(nil)
	if h.last.Offset != int64(len("old\nolder\n")) {
		t.Fatalf("begins at %d", h.last.Offset)
	}
	h.wrote = nil
	h.stop()
	h.write("a line")
	h.tick()
	h.rename(true)
	h.reopen()
	h.write("b")
	h.check()
}

func TestFollowFirstStartLongLine(t *testing.T) {
	h := newHost(t)
	h.o.FromStart = false
	h.o.MaxLine = 1024
	h.begin(strings.Repeat("x", 5000))
	h.poll()
	h.raw("\n")
	h.part, h.wrote = "", []string{""}
	h.write("a")
	h.check()
}

func TestFollowLongLines(t *testing.T) {
	h := newHost(t)
	long := strings.Repeat("x", 100<<10)
	h.write("a", long, "b")
	h.check()
	h.begin(long)
	h.poll()
	h.stop()
	h.begin(strings.Repeat("y", 2<<20))
	h.poll()
	h.stop()
	h.begin("end")
	h.poll()
	h.write("")
	h.write("c")
	h.wrote[3] = h.wrote[3][:DefaultMaxLine]
	h.check()
	if s := h.m.stats(); s.Cut != 1 || s.Lost != 0 {
		t.Errorf("one cut line told as %+v", s)
	}
}

// A writer that does not open its log for appending leaves a hole when the
// log is truncated under it.
func TestFollowHole(t *testing.T) {
	h := newHost(t)
	h.out = must(os.Create(h.path))(t)
	filler := strings.Repeat("x", 10_000)
	h.write(filler, filler, "a")
	h.check()
	h.copyTruncate()
	h.write("b")
	h.check()
	h.write("c")
	h.stop()
	h.check()
	h.copyTruncate()
	h.check()
	h.write("d")
	h.check()
	if h.lost() != 0 {
		t.Errorf("losses counted though nothing was lost: %+v", h.m.stats())
	}
}

func TestFollowCutShort(t *testing.T) {
	h := newHost(t)
	h.write(strings.Repeat("x", 2000), "a", "b")
	h.check()
	mustDo(t, os.Truncate(h.path, 2003))
	h.check()
	h.write("c")
	h.check()
	h.stop()
	h.write("d")
	h.check()
}

// What is written between copying and truncating is in no file any more.
func TestFollowCopyTruncateRace(t *testing.T) {
	h := newHost(t)
	h.write("a")
	h.check()
	h.copy()
	h.raw("lost\n")
	h.truncate()
	h.write("b" + strings.Repeat("x", headSize))
	h.check()

	h.shift()
	h.copy()
	h.write("seen in time")
	h.check()
	h.truncate()
	h.check()
	h.write("c")
	h.check()
	if s := h.m.stats(); s.Truncations != 2 || s.Lost != 0 {
		t.Errorf("two truncations told as %+v", s)
	}
}

// Half a line that was copied and truncated away is all there is of it.
func TestFollowCopyTruncateInLine(t *testing.T) {
	h := newHost(t)
	h.write("a")
	h.begin("first half,")
	h.check()
	h.copyTruncate()
	h.part = ""
	h.raw(" second half\n")
	h.wrote = append(h.wrote, "first half,", " second half")
	h.check()
}

func TestFollowPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	h := newHost(t)
	h.write("a")
	mustDo(t, os.Chmod(h.path, 0))
	h.poll()
	if s := h.m.stats(); !strings.Contains(s.Error, "permission denied") {
		t.Errorf("told as %+v", s)
	}
	mustDo(t, os.Chmod(h.path, 0o600))
	h.check()
}

// Neighbours whose names begin alike are none of the log's rotated files.
func TestFollowForeign(t *testing.T) {
	h := newHost(t)
	h.write("a")
	h.check()
	for _, name := range []string{h.path + ".offset", h.path + ".d", strings.TrimSuffix(h.path, ".log") + ".err", h.path + ".1x"} {
		mustDo(t, os.WriteFile(name, []byte("not for you\n"), 0o600))
		later := h.clock.Add(time.Hour)
		mustDo(t, os.Chtimes(name, later, later))
	}
	h.stop()
	h.tick()
	h.rename(true)
	h.reopen()
	h.write("b")
	h.check()
}

func TestFamily(t *testing.T) {
	tests := map[string]suffix{
		"mail.log.1": numbered, "mail.log.12.gz": numbered, "mail.1.log": numbered, "mail.log.01": numbered,
		"mail.log-20261122": dated, "mail.log-20261122.gz": dated, "mail.log.2026-11-22": dated,
		"mail-20261122.log": dated, "mail-20261122.log.xz": dated, "mail.log-1795300000": dated,
		"mail.log-2026-11-22T10:00:00": dated, "mail.log.old": aged,
		"mail.log.bak": foreign, "mail.err": foreign, "mail.err.1": foreign, "mail.log1": foreign,
		"mail.log.": foreign, "mail.log.1.tmp": foreign, "mail.logger": foreign, "mail.log.-": foreign,
	}
	for name, want := range tests {
		var s sibling
		s.classify("mail.log", name)
		if s.kind != want {
			t.Errorf("%s: kind %d, want %d", name, s.kind, want)
		}
	}
	var s sibling
	s.classify("mainlog", "mainlog.02.gz")
	if s.kind != numbered || s.number != 2 || s.packed != ".gz" {
		t.Errorf("mainlog.02.gz: %+v", s)
	}
}

// Reading a line takes no memory, whatever else a poll takes.
func TestFollowAllocations(t *testing.T) {
	text := sampleLog(1_000)
	o := DefaultFileOptions()
	o.Path = t.TempDir() + "/mail.log"
	out := must(os.Create(o.Path))(t)
	defer out.Close()
	must(out.Write(text))(t)
	f := newFollower(o, newMeter("test", TypeFile, nil), Position{}, func([]Record, Position) error { return nil })
	defer f.close()
	must(f.poll())(t)
	n := testing.AllocsPerRun(20, func() {
		must(out.Write(text))(t)
		must(f.poll())(t)
	})
	if n > 10 {
		t.Errorf("%v allocations for a poll of 1000 lines", n)
	}
}
