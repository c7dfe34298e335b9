package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"weir/policy"
	"weir/userspace/check"
	"weir/userspace/intake/detect"
)

// checkBench is a host whose log, rotated once a day, tells of a guesser and of
// an office that has long logged in before it fails.
type checkBench struct {
	*bench
	o CheckOptions
}

func newCheckBench(t *testing.T) *checkBench {
	t.Helper()
	b := newBench(t)
	b.setClock(logEnd)
	b.extra = "ports = [25, 22]\n"
	b.configure()
	o := DefaultCheckOptions()
	o.ConfigPath, o.Socket, o.Version, o.Now = b.config, filepath.Join(b.dir, "c.sock"), "1.0-test", b.clock
	files := fstest.MapFS{
		"etc/ssh/sshd_config":              {Data: []byte("# Port 99\nPort 2222\n")},
		"etc/ssh/sshd_config.d/a.conf":     {Data: []byte("port 22\n")},
		"proc/meminfo":                     {Data: []byte("MemTotal: 8000 kB\nMemAvailable:    4000000 kB\n")},
		"proc/self/net/tcp":                {Data: []byte("sl local rem st\n")},
		"proc/sys/net/core/bpf_jit_enable": {Data: []byte("1\n")},
		"etc/dovecot/dovecot.conf":         {Data: []byte("haproxy_trusted_networks = 192.0.2.80\n")},
	}
	o.host = func() detect.Host {
		return detect.Host{FS: files, Now: b.clock(), Run: func(string, ...string) (string, error) { return "", errors.New("not here") }}
	}
	return &checkBench{b, o}
}

func (b *checkBench) mustCheck() *check.Report {
	b.t.Helper()
	r, err := Check(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// want finds the one finding of a field and a subject with this in it.
func want(t *testing.T, r *check.Report, field, subject, seen string) *check.Finding {
	t.Helper()
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Field == field && f.Subject == subject && strings.Contains(f.Seen, seen) {
			return f
		}
	}
	for _, f := range r.Findings {
		if f.Field == field {
			t.Logf("%s: %v: %s %v", f.Subject, f.Severity, f.Seen, f.Details)
		}
	}
	t.Fatalf("no finding %s, %s: …%s…", field, subject, seen)
	return nil
}

func failed(at time.Time, source, user string) string {
	return fmt.Sprintf("%s mx postfix/submission/smtpd[1]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=%s\n", at.Format(time.RFC3339), source, user)
}

func succeeded(at time.Time, source, user string) string {
	return fmt.Sprintf("%s mx dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=%s, lip=192.0.2.1, mpid=1, TLS, session=<s%d>\n", at.Format(time.RFC3339), user, source, at.UnixNano())
}

// writeDays writes a rotated and packed log of days before, and today's.
func (b *checkBench) writeDays() {
	var before, today strings.Builder
	for i := range 40 {
		before.WriteString(succeeded(logEnd.Add(-60*time.Hour+time.Duration(i)*time.Minute), "198.51.100.77", fmt.Sprintf("user%d", i%5)))
	}
	before.WriteString(failed(logEnd.Add(-50*time.Hour), "203.0.113.1", "old"))
	for i := range 60 {
		at := logEnd.Add(-3*time.Hour + time.Duration(i)*time.Second)
		today.WriteString(failed(at, "203.0.113.9", fmt.Sprintf("guess%d", i)))
		today.WriteString(failed(at, "198.51.100.77", fmt.Sprintf("guess%d", i)))
		today.WriteString(failed(at, "198.51.100.1", fmt.Sprintf("guess%d", i))) // which allow names
	}
	today.WriteString(logEnd.Add(-time.Minute).Format(time.RFC3339) + " mx postfix/smtpd[9]: something new from unknown[192.0.2.99]: what is that\n")
	b.write(b.log, today.String())
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, before.String())
	w.Close()
	b.write(b.log+".1.gz", packed.String())
	for name, at := range map[string]time.Time{b.log + ".1.gz": logEnd.Add(-40 * time.Hour), b.log: logEnd.Add(-time.Minute)} {
		if err := os.Chtimes(name, at, at); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestCheckReadsLogs: the end of a log is understood, with a sample; the rules
// decide over the last day, and who has a good past is named.
func TestCheckReadsLogs(t *testing.T) {
	b := newCheckBench(t)
	b.writeDays()
	r := b.mustCheck()
	log := want(t, r, "logs", "file:"+b.log, "the last 181 lines: over 99 % of those that name clients understood, 180 events")
	details := fmt.Sprint(log.Details)
	for _, part := range []string{"auth_failure source 198.51.100.1 user guess59 service submission server postfix", "sasl_username=guess59", "something new from"} {
		if !strings.Contains(details, part) {
			t.Errorf("not in the details: %s\n%s", part, details)
		}
	}
	want(t, r, "clock", "file:"+b.log, "stamps go with the clock")
	want(t, r, "rules", "last day", "of 180 events since ")
	want(t, r, "rules", "spared", "who is never shut out")
	past := want(t, r, "rules", "good past", "1 of those sources had logged in 3 times or more")
	if past.Severity != check.Warning || len(past.Details) != 1 || past.Details[0].Name != "198.51.100.77" || !strings.Contains(past.Details[0].Text, "40 logins before, of 5 users") {
		t.Errorf("%+v", past)
	}
	want(t, r, "configuration", "line 7", "22")
	want(t, r, "configuration", "ports", "nobody listens")
	want(t, r, "agent", "running", "no agent runs")
	want(t, r, "unit", "weir.service", "could not be seen")
	want(t, r, "proxies", "192.0.2.80/32", "it may be shut out") // protect is [] here
}

// TestCheckRunsOutOfPatience says how far it came.
func TestCheckRunsOutOfPatience(t *testing.T) {
	b := newCheckBench(t)
	var long strings.Builder
	for i := range 5000 {
		long.WriteString(failed(logEnd.Add(-time.Hour+time.Duration(i)*time.Millisecond), "203.0.113.9", "x"))
	}
	b.write(b.log, long.String())
	b.o.Patience = time.Nanosecond
	r := b.mustCheck()
	want(t, r, "rules", "read", "took longer than 1ns")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Check(ctx, b.o); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is interrupted: %v", err)
	}
}

// TestCheckMergesLogs: of two logs, events are judged by their time: the
// success that the one has comes between the failures of the other.
func TestCheckMergesLogs(t *testing.T) {
	b := newCheckBench(t)
	second := filepath.Join(b.dir, "dovecot.log")
	b.write(b.log, failed(logEnd.Add(-3*time.Hour), "203.0.113.9", "a")+failed(logEnd.Add(-time.Hour), "203.0.113.9", "c"))
	b.write(second, succeeded(logEnd.Add(-2*time.Hour), "203.0.113.8", "b"))
	b.write(b.config, mustRead(t, b.config)+fmt.Sprintf("[[intake]]\ntype = \"file\"\npath = %q\n", second))
	var order []string
	var problems check.Configuration
	c := checkedConfig(b.config, &problems)
	all, _ := inputsOf(c, b.o.host())
	d := &day{}
	for _, w := range all {
		for e := range d.events(t.Context(), w, logEnd) {
			order = append(order, e.User)
		}
	}
	if strings.Join(order, "") != "acb" {
		t.Fatalf("one after the other: %q", order)
	}
	order = nil
	for e := range merged([]iter.Seq[policy.Event]{d.events(t.Context(), all[0], logEnd), d.events(t.Context(), all[1], logEnd)}) {
		order = append(order, e.User)
	}
	if strings.Join(order, "") != "abc" {
		t.Errorf("merged: %q", order)
	}
}

// TestCheckBrokenConfiguration: errors of the configuration are findings, and
// the rest is examined all the same.
func TestCheckBrokenConfiguration(t *testing.T) {
	b := newCheckBench(t)
	b.write(b.config, "mode = \"enforce\"\nnonsense = 1\nports = [70000]\n")
	r := b.mustCheck()
	if f := want(t, r, "configuration", "line 2", "nonsense"); f.Severity != check.Error || f.Remedy == "" {
		t.Errorf("%+v", f)
	}
	want(t, r, "configuration", "line 3", "70000")
	want(t, r, "kernel", "release", "")
	b.o.ConfigPath = filepath.Join(b.dir, "none.toml")
	want(t, b.mustCheck(), "configuration", "file", "is not there")
}

// TestCheckAsksTheAgent: of an agent that runs, its own word is told.
func TestCheckAsksTheAgent(t *testing.T) {
	b := newCheckBench(t)
	b.writeDays()
	a := b.mustStart()
	mustWait(t, "the log to be read", func() bool {
		st, err := a.Status(t.Context())
		return err == nil && len(st.Intakes) == 1 && st.Intakes[0].Lines >= 181
	})
	if st, err := a.Status(t.Context()); err != nil || !strings.Contains(strings.Join(st.Notes, "\n"), "ports holds 22") {
		t.Errorf("status says nothing of port 22: %v, %v", st.Notes, err)
	}
	r := b.mustCheck()
	want(t, r, "agent", "running", "answers")
	want(t, r, "configuration", "line 7", "22")
	for _, f := range r.Findings {
		if f.Field == "agent" && f.Subject == "note" {
			t.Errorf("it is told twice: %s", f.Seen)
		}
	}
	want(t, r, "logs", "file:"+b.log, "the agent has read ")
	want(t, r, "state", filepath.Join(b.dir, "state"), "weir's alone")
	if f := want(t, r, "agent", "version", ""); f.Severity != check.Warning {
		t.Errorf("of two versions: %+v", f)
	}
	if !strings.Contains(b.output.String(), "the configuration is in force, but") {
		t.Error("the log says nothing of port 22")
	}
}

// TestCheckSeesZones: stamps without a year and a zone, of a server that writes
// in another zone than the host's.
func TestCheckSeesZones(t *testing.T) {
	for shift, seen := range map[time.Duration]string{2 * time.Hour: "2h0m0s ahead of the clock", -5 * time.Hour: "5h0m0s behind when it was written", 0: "stamps go with the clock"} {
		b := newCheckBench(t)
		at := logEnd.Add(shift).Format(time.Stamp)
		b.write(b.log, at+" mx postfix/smtpd[1]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x, sasl_username=carol\n")
		if err := os.Chtimes(b.log, logEnd, logEnd); err != nil {
			t.Fatal(err)
		}
		want(t, b.mustCheck(), "clock", "file:"+b.log, seen)
	}
}
