package maillog

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/policy"
)

// What the web's servers write is read without a single allocation, too, once
// names and tables are warm.
func TestNoAllocationsWeb(t *testing.T) {
	var lines [][]byte
	for _, name := range []string{"nginx-1.22.1.log", "roundcube-1.6.5.log", "roundcube-syslog.log", "sogo-5.12.1.log"} {
		text, err := os.ReadFile(filepath.Join("testdata", "running", name))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, bytes.Split(text, []byte("\n"))...)
	}
	for _, name := range []string{"connect", "login", "login-failure", "message", "unknown-recipient"} {
		for _, s := range mustSamples(t, filepath.Join("testdata", "corpus", "stalwart-"+name+".txt")) {
			for _, line := range s.lines {
				lines = append(lines, []byte(line))
			}
		}
	}
	p := newTestParser()
	out := make([]policy.Event, 0, maxRepeat)
	events := 0
	pass := func() {
		for i, line := range lines {
			out = p.Line(line, uint64(i), out[:0])
			events += len(out)
		}
	}
	for range 500 { // until the ledger is full
		pass()
	}
	if events < 100 {
		t.Fatalf("%d events of %d lines", events, len(lines))
	}
	if n := testing.AllocsPerRun(3, pass) / float64(len(lines)); n > 0.001 {
		t.Errorf("%.4f allocations a line", n)
	}
}

func TestOwnHeaders(t *testing.T) {
	at := time.Date(2026, time.November, 22, 0, 20, 1, 0, time.UTC)
	for _, c := range []struct {
		line, program, text string
		dialect             dialect
		time                time.Time
	}{
		{"2026/11/22 00:20:01 [info] 1#1: *1 x", "", "2026/11/22 00:20:01 [info] 1#1: *1 x", nginxDialect, at},
		{"2026/11/22 00:20:01 text", "", "", otherDialect, at},
		{"[22-Nov-2026 01:20:01 +0100]: <a> x", "", "<a> x", roundcubeDialect, at},
		{"[22-Nov-2026 00:20:01.500000 +0000]: x", "", "x", roundcubeDialect, at.Add(time.Second / 2)},
		{"[22-Nov-2026 00:20:01 UTC] PHP Warning:  x", "", "", otherDialect, at},
		{"[22-Nov-2026 00:20:01 +0000]:", "", "", otherDialect, at},
		{"[32-Nov-2026 00:20:01 +0000]: x", "", "x", roundcubeDialect, time.Time{}},
		{"[22-Nix-2026 00:20:01 +0000]: x", "", "x", roundcubeDialect, time.Time{}},
		{"Nov 22 00:20:01 sogod [12]: x", "sogod", "x", sogoDialect, at},
		{"Nov 22 00:20:01 mx sogod [12]: x", "sogod", "x", sogoDialect, at},
		{"Nov 22 00:20:01 mx sogod[12]: x", "sogod", "x", sogoDialect, at},
		{"Nov 22 00:20:01 mx other [12]: x", "", "", otherDialect, at},
		{"Nov 22 00:20:01 sogod x: y", "x", "y", otherDialect, at},
		{"2026-11-22T00:20:01Z WARN x", "", "x", stalwartDialect, at},
		{"2026-11-22T00:20:01Z mx nginx: x", "nginx", "x", nginxDialect, at},
		{"2026-11-22T00:20:01Z INFO", "", "", otherDialect, at},
	} {
		var s Scanned
		var scan Scanner
		r := &s.record
		if scan.Scan([]byte(c.line), 1, &s); r.dialect != c.dialect {
			t.Errorf("%s: dialect %d, want %d", c.line, r.dialect, c.dialect)
			continue
		}
		if c.dialect == otherDialect && c.program == "" {
			continue
		}
		p := newTestParser()
		p.clock.follow(r.stamp)
		got, ok := p.when(r)
		if string(r.program) != c.program || string(r.text) != c.text || ok == c.time.IsZero() || ok && !got.Equal(c.time) {
			t.Errorf("%s: program %q, text %q, time %v", c.line, r.program, r.text, got)
		}
	}
}

// Roundcube's two files tell of one attempt within a minute, of two beyond it.
func TestRoundcubeTellsTwice(t *testing.T) {
	const (
		errors = "IMAP Error: Login failed for bob against localhost from 203.0.113.5. LOGIN: no. in /x on line 1 (POST /)"
		logins = "Failed login for bob from 203.0.113.5 in session a (error: 0)"
	)
	for _, c := range []struct {
		second string
		after  time.Duration
		want   int
	}{
		{logins, time.Second, 1},
		{logins, roundcubeReach * time.Second, 1},
		{logins, (roundcubeReach + 1) * time.Second, 2},
		{errors, time.Second, 2},
	} {
		p := newTestParser()
		events := p.Message(reference, "", "roundcube", 0, []byte(errors), 1, nil)
		events = p.Message(reference.Add(c.after), "", "roundcube", 0, []byte(c.second), 2, events)
		if len(events) != c.want {
			t.Errorf("%s after %v: %d events, want %d", c.second, c.after, len(events), c.want)
		}
	}
}
