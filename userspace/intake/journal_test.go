package intake

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// journalHost writes real journal files, by systemd-journal-remote(8).
type journalHost struct {
	t      testing.TB
	dir    string
	remote string
	count  int
	boot   int
}

// newJournalHost skips the test where systemd's tools are missing; in CI they
// must not be.
func newJournalHost(t testing.TB) *journalHost {
	t.Helper()
	h := &journalHost{t: t, dir: t.TempDir()}
	for _, path := range []string{"/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"} {
		if _, err := os.Stat(path); err == nil {
			h.remote = path
		}
	}
	_, err := exec.LookPath("journalctl")
	if h.remote == "" || err != nil {
		message := "journalctl and systemd-journal-remote are needed; install the package systemd-journal-remote"
		if os.Getenv("CI") == "true" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	return h
}

// write puts messages into a journal file of that name.
func (h *journalHost) write(file string, messages ...string) {
	h.t.Helper()
	for _, m := range messages {
		h.put(file, m)
	}
}

// put writes one entry of Postfix's, with more fields or other values of the
// usual ones.
func (h *journalHost) put(file, message string, more ...string) {
	h.t.Helper()
	h.count++
	us := 1795300000000000 + int64(h.count)*1000
	fields := []string{
		fmt.Sprintf("__REALTIME_TIMESTAMP=%d", us), fmt.Sprintf("__MONOTONIC_TIMESTAMP=%d", h.count*1000),
		fmt.Sprintf("_SOURCE_REALTIME_TIMESTAMP=%d", us-500),
		fmt.Sprintf("_BOOT_ID=%032x", 0xb000+h.boot), fmt.Sprintf("_MACHINE_ID=%032x", 0xa), "_HOSTNAME=mail",
		fmt.Sprintf("_PID=%d", h.count), fmt.Sprintf("SYSLOG_PID=%d", h.count),
		"_UID=110", "_COMM=smtpd", "SYSLOG_IDENTIFIER=postfix/smtpd", "_SYSTEMD_UNIT=postfix@-.service",
	}
	for _, field := range more {
		name, _, _ := strings.Cut(field, "=")
		fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, name+"=") })
	}
	var b bytes.Buffer
	for _, field := range append(fields, more...) {
		b.WriteString(field + "\n")
	}
	b.WriteString("MESSAGE\n")
	mustDo(h.t, binary.Write(&b, binary.LittleEndian, uint64(len(message))))
	b.WriteString(message + "\n\n")
	cmd := exec.Command(h.remote, "-o", filepath.Join(h.dir, file), "-")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("write journal: %v: %s", err, out)
	}
}

func (h *journalHost) journal(change func(*JournalOptions)) *Journal {
	h.t.Helper()
	o := DefaultJournalOptions()
	o.Directory = h.dir
	o.FromStart = true
	if change != nil {
		change(&o)
	}
	return must(NewJournal(o))(h.t)
}

func TestJournal(t *testing.T) {
	h := newJournalHost(t)
	h.write("system.journal", "a", "tab\tquote\" backslash\\ ünïcode 😀", "bad \xff\xfe\nutf", strings.Repeat("x", 100_000), "b")
	in := h.journal(nil)
	l := run(t, in, Position{})
	l.expect("a", "tab\tquote\" backslash\\ ünïcode 😀", "bad \xff\xfe\nutf", strings.Repeat("x", 100_000), "b")
	h.write("system.journal", "c")
	l.expect("c")
	h.write("system-2.journal", "d")
	l.expect("d")
}

// Every entry comes once whatever happens between two runs, and what the
// journal no longer has is counted.
func TestJournalResume(t *testing.T) {
	h := newJournalHost(t)
	h.write("1.journal", "a", "b")
	var at Position
	var got []Record
	take := func(n int) Stats {
		t.Helper()
		in := h.journal(nil)
		enough := errors.New("enough")
		err := in.Run(t.Context(), at, func(batch []Record, after Position) error {
			for _, r := range batch {
				r.Line = bytes.Clone(r.Line)
				got = append(got, r)
			}
			at = after
			if len(got) >= n {
				return enough
			}
			return nil
		})
		if err != enough {
			t.Fatal(err)
		}
		return in.Stats()
	}
	take(2)
	h.write("1.journal", "c")
	take(3)
	h.boot++ // a reboot does not hide what came before it
	h.write("1.journal", "d")
	h.boot++
	h.write("2.journal", "e")
	s := take(5)
	var lines []string
	for i, r := range got {
		lines = append(lines, string(r.Line))
		want := time.UnixMicro(1795300000000000 + int64(i+1)*1000 - 500)
		if r.Number != uint64(i+1) || r.PID != i+1 || r.Program != "postfix/smtpd" || r.Unit != "postfix@-.service" || !r.Time.Equal(want) {
			t.Errorf("record %d is %+v", i+1, r)
		}
	}
	if strings.Join(lines, "") != "abcde" || s.Lost != 0 {
		t.Fatalf("got %q, %+v", lines, s)
	}
	mustDo(t, os.Remove(filepath.Join(h.dir, "1.journal")))
	mustDo(t, os.Remove(filepath.Join(h.dir, "2.journal")))
	h.write("3.journal", "f")
	if s := take(6); s.Lost == 0 || string(got[5].Line) != "f" {
		t.Errorf("vacuum told as %+v, got %q", s, got[5].Line)
	}
}

func TestJournalUnits(t *testing.T) {
	h := newJournalHost(t)
	h.write("1.journal", "a")
	l := run(t, h.journal(func(o *JournalOptions) { o.Units = []string{"postfix@*.service"} }), Position{})
	l.expect("a")
	l = run(t, h.journal(func(o *JournalOptions) { o.Matches = []string{"_PID=2"} }), Position{})
	h.write("1.journal", "b", "c")
	l.expect("b")
}

func TestJournalMissing(t *testing.T) {
	o := DefaultJournalOptions()
	o.Command = "/nonexistent/journalctl"
	err := must(NewJournal(o))(t).Run(t.Context(), Position{}, nil)
	if !errors.Is(err, ErrNoJournalctl) || !strings.Contains(err.Error(), "type = \"file\"") {
		t.Errorf("error %v", err)
	}
}

// fakeEntry is an entry as journalctl prints it.
func fakeEntry(t testing.TB, n int, more map[string]string) string {
	t.Helper()
	e := map[string]string{
		"__CURSOR": fmt.Sprintf("c%d", n), "MESSAGE": fmt.Sprintf("m%d", n),
		"__REALTIME_TIMESTAMP": "1795300000000000", "_UID": "110",
	}
	for k, v := range more {
		e[k] = v
	}
	return string(must(json.Marshal(e))(t))
}

// A child that dies is started again, and goes on where it stopped.
func TestJournalChildDies(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "journalctl")
	mustDo(t, os.WriteFile(script, []byte(`#!/bin/sh
echo "$@" >> `+dir+`/args
if [ -e `+dir+`/second ]; then cat `+dir+`/second; exec sleep 1000; fi
cat `+dir+`/first
echo "journal is on fire" >&2
touch `+dir+`/died
mv `+dir+`/next `+dir+`/second
exit 3
`), 0o700))
	mustDo(t, os.WriteFile(dir+"/first", []byte(fakeEntry(t, 1, nil)+"\n"+fakeEntry(t, 2, nil)+"\n"), 0o600))
	mustDo(t, os.WriteFile(dir+"/next", []byte(fakeEntry(t, 2, nil)+"\n"+fakeEntry(t, 3, nil)+"\n"), 0o600))
	o := DefaultJournalOptions()
	o.Command = script
	in := must(NewJournal(o))(t)
	l := run(t, in, Position{})
	l.expect("m1", "m2", "m3")
	l.end()
	args := string(must(os.ReadFile(dir + "/args"))(t))
	if !strings.Contains(args, "--since=@") || !strings.Contains(args, "--cursor=c2") {
		t.Errorf("journalctl was called with %s", args)
	}
	if s := in.Stats(); s.Lost != 0 || !strings.Contains(s.Error, "journal is on fire") {
		t.Errorf("told as %+v", s)
	}
}

func TestJournalDeliver(t *testing.T) {
	var got []string
	m := newMeter("test", TypeJournal, nil)
	o := DefaultJournalOptions()
	o.MaxLine = 1024
	r := newJournalReader(o, m, Position{}, func(batch []Record, after Position) error {
		for _, r := range batch {
			got = append(got, fmt.Sprintf("%s %s %s", after.Cursor, r.Program, r.Line[:min(4, len(r.Line))]))
		}
		return nil
	})
	r.own = []byte("here")
	r.resume = []byte("gone")
	in := strings.Join([]string{
		fakeEntry(t, 1, map[string]string{"_COMM": "dovecot"}),
		fakeEntry(t, 2, map[string]string{"_UID": "1000", "_SYSTEMD_UNIT": "session-3.scope", "SYSLOG_IDENTIFIER": "postfix/smtpd"}),
		fakeEntry(t, 3, map[string]string{"_UID": "110", "_SYSTEMD_UNIT": "session-3.scope", "SYSLOG_IDENTIFIER": "postfix/smtpd"}),
		fakeEntry(t, 4, map[string]string{"_MACHINE_ID": "elsewhere"}),
		"not JSON",
		fakeEntry(t, 5, map[string]string{"MESSAGE_ID": suppressedID, "N_DROPPED": "7", "_UID": "0"}),
		fakeEntry(t, 6, map[string]string{"MESSAGE": strings.Repeat("x", 2000)}),
	}, "\n") + "\n"
	mustDo(t, r.read(strings.NewReader(in)))
	want := "[c6 dovecot m1 c6 postfix/smtpd m3 c6  m5 c6  xxxx]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	s := m.stats()
	if s.Lost != 1+1+7 || s.Ignored != 2 || s.Cut != 1 || s.Lines != 4 {
		t.Errorf("told as %+v", s)
	}
}

func BenchmarkJournalEntry(b *testing.B) {
	line := []byte(fakeEntry(b, 1, map[string]string{
		"MESSAGE":           "warning: unknown[192.0.2.1]: SASL LOGIN authentication failed: \"UGFzc3dvcmQ6\"",
		"SYSLOG_IDENTIFIER": "postfix/smtpd", "_PID": "1234", "_SYSTEMD_UNIT": "postfix@-.service",
	}))
	var p entryParser
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		p.reset()
		must(p.parse(line))(b)
	}
}
