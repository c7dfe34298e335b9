package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFrame(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	zone := time.FixedZone("", 3600)
	stamp := time.Date(2026, 11, 22, 10, 11, 12, 0, zone)
	precise := time.Date(2026, 11, 22, 10, 11, 12, 345_000_000, zone)
	tests := map[string]struct {
		in      string
		time    time.Time
		host    string
		program string
		pid     int
		message string
	}{
		"syslog(3)":           {"<22>Nov 22 10:11:12 postfix/smtpd[123]: connect from unknown[192.0.2.1]", stamp, "", "postfix/smtpd", 123, "connect from unknown[192.0.2.1]"},
		"RFC 3164":            {"<22>Nov 22 10:11:12 mail postfix/smtpd[123]: connect", stamp, "mail", "postfix/smtpd", 123, "connect"},
		"no process":          {"<22>Nov 22 10:11:12 dovecot: imap-login: Login", stamp, "", "dovecot", 0, "imap-login: Login"},
		"host, no process":    {"<22>Nov 22 10:11:12 mail dovecot: imap-login: Login", stamp, "mail", "dovecot", 0, "imap-login: Login"},
		"day of one digit":    {"<22>Nov  2 10:11:12 mail a: b", time.Date(2026, 11, 2, 10, 11, 12, 0, zone), "mail", "a", 0, "b"},
		"last year":           {"<22>Dec 31 23:59:59 a: b", time.Date(2025, 12, 31, 23, 59, 59, 0, zone), "", "a", 0, "b"},
		"RFC 3339 in 3164":    {"<22>2026-11-22T10:11:12.345+01:00 mail postfix/qmgr[9]: x", precise, "mail", "postfix/qmgr", 9, "x"},
		"no priority":         {"Nov 22 10:11:12 mail postfix/smtpd[123]: connect", stamp, "mail", "postfix/smtpd", 123, "connect"},
		"no time":             {"<22>postfix/smtpd[123]: connect", time.Time{}, "", "postfix/smtpd", 123, "connect"},
		"final newline":       {"<22>Nov 22 10:11:12 a[1]: b\n\x00", stamp, "", "a", 1, "b"},
		"RFC 5424":            {"<22>1 2026-11-22T10:11:12.345+01:00 mail postfix/smtpd 123 - - connect", precise, "mail", "postfix/smtpd", 123, "connect"},
		"RFC 5424, BOM":       {"<22>1 2026-11-22T10:11:12.345+01:00 mail dovecot 7 ID1 - \xef\xbb\xbfLogin", precise, "mail", "dovecot", 7, "Login"},
		"RFC 5424, data":      {`<22>1 2026-11-22T10:11:12.345+01:00 mail a 7 - [x@1 k="\"]\\"][y z="]"] m`, precise, "mail", "a", 7, "m"},
		"RFC 5424, nothing":   {"<22>1 - - - - - -", time.Time{}, "", "", 0, ""},
		"RFC 5424, bad data":  {"<22>1 - - a - - [x m", time.Time{}, "", "", 0, "1 - - a - - [x m"},
		"not syslog":          {"hello", time.Time{}, "", "", 0, "hello"},
		"empty":               {"", time.Time{}, "", "", 0, ""},
		"bad priority":        {"<2222>x", time.Time{}, "", "", 0, "<2222>x"},
		"process not numeric": {"<22>Nov 22 10:11:12 a[x]: b", stamp, "", "", 0, "a[x]: b"},
		"huge process":        {"<22>Nov 22 10:11:12 a[99999999999]: b", stamp, "", "a", maxPID, "b"},
		"IPv6 host":           {"<22>Nov 22 10:11:12 2001:db8::25 postfix/smtpd[123]: connect", stamp, "2001:db8::25", "postfix/smtpd", 123, "connect"},
		"IPv6 host, no tag":   {"<22>Nov 22 10:11:12 2001:db8:: connect", stamp, "2001:db8::", "", 0, "connect"},
		"not quite IPv6":      {"<22>Nov 22 10:11:12 a::b: c", stamp, "", "a", 0, ":b: c"},
		"long host":           {"<22>Nov 22 10:11:12 " + strings.Repeat("x", 256) + " a: b", stamp, "", "a", 0, "b"},
		"long program":        {"<22>" + strings.Repeat("x", 256) + ": b", time.Time{}, "", "", 0, strings.Repeat("x", 256) + ": b"},
		"RFC 5424, no host":   {"<22>1 - - a 7 - - m", time.Time{}, "", "a", 7, "m"},
		"tag without colon":   {"<22>Nov 22 10:11:12 mail postfix/submissions/smtpd[12345] warning: x", stamp, "mail", "postfix/submissions/smtpd", 12345, "warning: x"},
		"tag without bracket": {"<22>Nov 22 10:11:12 mail postfix/submissions/smtpd[123456 warning: x", stamp, "mail", "postfix/submissions/smtpd", 0, "warning: x"},
		"tag, not cut":        {"<22>Nov 22 10:11:12 mail postfix/submission/smtpd[12345] warning: x", stamp, "", "", 0, "mail postfix/submission/smtpd[12345] warning: x"},
		"tag with host's end": {"<22>Nov 22 10:11:12 mail.example postfix/smtpd[12: x", stamp, "", "", 0, "mail.example postfix/smtpd[12: x"},
		"NUL in message":      {"<22>Nov 22 10:11:12 a[1]: b\x00c", stamp, "", "a", 1, "b\x00c"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := parseFrame([]byte(tt.in), now, zone)
			if !f.time.Equal(tt.time) || string(f.host) != tt.host || string(f.program) != tt.program || f.pid != tt.pid || string(f.message) != tt.message {
				t.Errorf("got %v %q %q %d %q", f.time, f.host, f.program, f.pid, f.message)
			}
		})
	}
}

func TestFrameLeapDay(t *testing.T) {
	now := time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
	f := parseFrame([]byte("<22>Feb 29 10:00:00 a: b"), now, time.UTC)
	if want := time.Date(2028, 2, 29, 10, 0, 0, 0, time.UTC); !f.time.Equal(want) {
		t.Errorf("got %v, want %v", f.time, want)
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		"<22>Nov 22 10:11:12 mail postfix/smtpd[123]: connect", "<22>1 2026-11-22T10:11:12+01:00 mail a 1 - [x@1 k=\"\\\"]\"] m",
		"<22>Feb 29 10:11:12 a: b", "<22>1 ", "<", "<1>", "",
	} {
		f.Add([]byte(s))
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		got := parseFrame(in, now, time.UTC)
		if !bytes.Equal(in, before) {
			t.Fatal("the datagram was changed")
		}
		if !bytes.Contains(in, got.message) || !bytes.Contains(in, got.program) {
			t.Fatalf("%q, %q made of %q", got.program, got.message, in)
		}
		if bytes.ContainsAny(got.program, " ") || len(got.program) > 255 || got.pid < 0 || got.pid > maxPID {
			t.Fatalf("program %q, process %d", got.program, got.pid)
		}
		if bytes.ContainsAny(got.host, " ") || len(got.host) > 255 || !bytes.Contains(in, got.host) {
			t.Fatalf("host %q", got.host)
		}
	})
}

func syslogInput(t testing.TB, path string) *Syslog {
	t.Helper()
	o := DefaultSyslogOptions()
	o.Path = path
	return must(NewSyslog(o))(t)
}

// dial waits for the socket to appear.
func dial(t testing.TB, path string) net.Conn {
	t.Helper()
	until := time.Now().Add(deadline)
	for {
		c, err := net.Dial("unixgram", path)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	in := syslogInput(t, path)
	l := run(t, in, Position{})
	c := dial(t, path)
	for i := range 100 {
		must(fmt.Fprintf(c, "<22>Nov 22 10:11:12 postfix/smtpd[1]: message %d", i))(t)
		l.expect(fmt.Sprintf("message %d", i))
	}
	if mode := must(os.Stat(path))(t).Mode(); mode.Perm() != 0o660 {
		t.Errorf("socket has mode %v", mode)
	}
	second := syslogInput(t, path)
	if err := second.Run(t.Context(), Position{}, nil); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("second receiver: %v", err)
	}
	must(c.Write([]byte("<22>a: still here")))(t)
	l.expect("still here")
	l.end()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket is left behind: %v", err)
	}
}

func TestSyslogSocket(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	dead := must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: stale, Net: "unixgram"}))(t)
	mustDo(t, dead.Close())
	l := run(t, syslogInput(t, stale), Position{})
	must(dial(t, stale).Write([]byte("<22>a: b")))(t)
	l.expect("b")

	file := filepath.Join(dir, "file")
	mustDo(t, os.WriteFile(file, []byte("precious"), 0o600))
	for path, want := range map[string]string{
		file:                              "something else has that name",
		filepath.Join(dir, "none", "log"): "does not exist; make it",
	} {
		if err := syslogInput(t, path).Run(t.Context(), Position{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", path, err, want)
		}
	}
	if b := must(os.ReadFile(file))(t); string(b) != "precious" {
		t.Error("a file was overwritten")
	}
}

// A sink that stands still does not make the mail server wait; what does not
// fit is counted.
func TestSyslogSlowSink(t *testing.T) {
	o := DefaultSyslogOptions()
	o.Path = filepath.Join(t.TempDir(), "log")
	o.Queue = 64 << 10
	in := must(NewSyslog(o))(t)
	ctx, cancel := context.WithCancel(t.Context())
	entered, release, done := make(chan bool, 1), make(chan bool), make(chan error, 1)
	got := 0
	go func() {
		done <- in.Run(ctx, Position{}, func(batch []Record, after Position) error {
			select {
			case entered <- true:
			default:
			}
			<-release
			got += len(batch)
			if after != (Position{}) {
				t.Errorf("position %+v of what cannot be read again", after)
			}
			return nil
		})
	}()
	c := dial(t, o.Path)
	message := []byte("<22>a: " + strings.Repeat("x", 1000))
	must(c.Write(message))(t)
	<-entered
	const n = 500
	for range n {
		must(c.Write(message))(t)
	}
	close(release)
	until := time.Now().Add(deadline)
	for s := in.Stats(); s.Lines+s.Lost < n+1; s = in.Stats() {
		if time.Now().After(until) {
			t.Fatalf("messages not accounted for: %+v", s)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	mustDo(t, <-done)
	if s := in.Stats(); s.Lost == 0 || s.Lines != uint64(got) || s.Lines < 60 {
		t.Errorf("%d received; told as %+v", got, s)
	}
}
