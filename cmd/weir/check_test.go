package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"weir/userspace/agent"
	"weir/userspace/check"
	"weir/userspace/control/controltest"
)

// reportOf makes a report that a host could have.
func reportOf(findings ...check.Finding) *check.Report {
	r := &check.Report{Version: "1.0-test", Host: "mx.example.org", Time: noon, Counts: map[string]int{"ok": 0, "note": 0, "warning": 0, "error": 0}, Findings: findings}
	for i := range findings {
		r.Severity = max(r.Severity, findings[i].Severity)
		r.Counts[findings[i].Severity.String()]++
	}
	return r
}

func good() []check.Finding {
	return []check.Finding{
		{Field: "configuration", Subject: "file", Seen: "/etc/weir/weir.toml has no errors"},
		{Field: "configuration", Subject: "mode", Severity: check.Note, Seen: "observe: weir decides and shows, and touches nothing", Remedy: `when weir list shows what you expect, set mode = "enforce" and reload`},
		{Field: "kernel", Subject: "release", Seen: "6.12.1"},
		{Field: "logs", Subject: "file:/var/log/mail.log", Seen: "the last 2,000 lines: over 99 % of those that name clients understood, 122 events", Details: []check.Detail{
			{Name: "line", Text: "Mar  1 11:59:58 mx postfix/smtpd[9]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=carol\x1b[2J"},
			{Name: "event", Text: "auth_failure source 203.0.113.9 user carol service smtp server postfix"},
		}},
	}
}

func TestGoldenCheck(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	report := reportOf(good()...)
	s.env.check = func(_ context.Context, o agent.CheckOptions) (*check.Report, error) {
		if o.ConfigPath != s.config || o.Patience != 30*time.Second || !strings.HasSuffix(o.Socket, "/s") {
			return nil, fmt.Errorf("asked with %+v", o)
		}
		return report, nil
	}
	s.golden(t, "check", []string{"check"}, []string{"check", "-o", "json", "--least", "note"})
	report = reportOf(append(good(),
		check.Finding{Field: "rules", Subject: "good past", Severity: check.Warning, Seen: "2 of those sources had logged in 3 times or more over 6 hours before, and are probably flagged wrongly",
			Remedy: "weir pin SOURCE --action allow spares one"})...)
	s.golden(t, "check-warning", []string{"check", "--least", "warning"})
	report = reportOf(append(report.Findings,
		check.Finding{Field: "state", Subject: "room", Severity: check.Error, Seen: "1 MB are free: decisions will not outlive a restart", Remedy: "make room on that file system"})...)
	s.golden(t, "check-error",
		[]string{"check", "--least", "error"},
		[]string{"check", "--least", "bad"},
		[]string{"check", "--patience", "0s"},
		[]string{"check", "-o", "xml"},
		[]string{"check", "extra"},
	)
}

// TestCheckWithoutStaging: the real thing, against a configuration with an
// error and no agent, ends with a code that says so, and its JSON can be read.
func TestCheckWithoutStaging(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	s.env.check = agent.Check
	s.config = mustWrite(t, s.dir, "none.toml", "no_such_key = 1\nintake = \"auto\"\ncontrol_socket = \"/nonexistent/s\"\n")
	if code := s.weir("check", "-o", "json", "--patience", "2s"); code != exitError {
		t.Errorf("ended with %d: %s", code, s.err.String())
	}
	var r check.Report
	if err := json.Unmarshal(s.out.Bytes(), &r); err != nil || r.Severity != check.Error || r.Counts["error"] == 0 || len(r.Findings) < 10 {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, f := range r.Findings {
		if f.Field == "configuration" && f.Subject == "line 1" && strings.Contains(f.Seen, "no_such_key") {
			return
		}
	}
	t.Errorf("the error of the configuration is missing: %+v", r.Findings)
}

// TestCheckFails: an error of the examination itself is none of what it found.
func TestCheckFails(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	s.env.check = func(context.Context, agent.CheckOptions) (*check.Report, error) { return nil, fs.ErrInvalid }
	if code := s.weir("check"); code != exitFailure || s.out.Len() > 0 {
		t.Errorf("ended with %d, and wrote %s", code, s.out.String())
	}
}
