package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/dovecotpolicy"
)

// ruling is rules that do not change when the default ones do.
const ruling = `
[[rule]]
name = "failures"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 10
within = "10m"
spare_known = "30m"
action = "drop"
for = "1h"

[[rule]]
name = "sources-per-user"
events = ["auth_success"]
per = "user"
measure = "sources"
threshold = 12
within = "1h"
spare_known = "6h"
action = "drop"
for = "6h"
`

// pretend has the agent answer as in mode enforce, without a kernel.
func pretend(a *Agent) {
	c := *a.current()
	c.Mode = config.Enforce
	a.mu.Lock()
	a.config = &c
	a.mu.Unlock()
}

func mustHear(t *testing.T, a *Agent, events ...policy.Event) {
	t.Helper()
	batch := make([]heard, len(events))
	for i, e := range events {
		batch[i] = heard{event: e, text: "dovecot report: …", counts: true}
	}
	if err := a.core.do(t.Context(), func() { a.core.hear(batch) }); err != nil {
		t.Fatal(err)
	}
}

func mustStanding(t *testing.T, a *Agent, addr, user string) dovecotpolicy.Standing {
	t.Helper()
	s, err := a.Standing(t.Context(), netip.MustParseAddr(addr), user)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What Dovecot is told, from the ledger and from the engine.
func TestStandingOfLogins(t *testing.T) {
	b := newBench(t)
	b.extra = ruling
	b.configure()
	a := b.mustStart()
	now := b.clock()
	pin := func(prefix string, action policy.Action) policy.Decision {
		return policy.Decision{Target: policy.Target{Prefix: netip.MustParsePrefix(prefix)}, Action: action, Pinned: true, Since: now, Rate: policy.Rate{Every: time.Second}}
	}
	if err := a.Pin(t.Context(), []policy.Decision{
		pin("203.0.113.1/32", policy.Drop), pin("203.0.113.2/32", policy.Limit), pin("203.0.113.16/28", policy.Allow), pin("2001:db8:7::/64", policy.Tarpit),
	}); err != nil {
		t.Fatal(err)
	}
	login := func(kind policy.Kind, addr, user string, before time.Duration) policy.Event {
		return policy.Event{Time: now.Add(-before), Kind: kind, Source: netip.MustParseAddr(addr), User: user, Server: "dovecot"}
	}
	for h := range 24 { // bob's home, and an office where a telephone fails
		mustHear(t, a, login(policy.AuthSuccess, "192.0.2.7", "bob", time.Duration(24-h)*time.Hour))
	}
	for n := range 6 {
		mustHear(t, a, login(policy.AuthFailure, "192.0.2.9", "bob", time.Duration(60-n)*time.Second),
			login(policy.AuthFailure, "192.0.2.7", "bob", time.Duration(60-n)*time.Second))
	}
	for n := range 20 { // with a stolen password
		mustHear(t, a, login(policy.AuthSuccess, fmt.Sprintf("198.51.100.%d", 100+n), "bob", time.Duration(20-n)*time.Second))
	}
	if got := mustStanding(t, a, "203.0.113.1", "carol"); got != (dovecotpolicy.Standing{}) {
		t.Errorf("in mode observe: %+v", got)
	}
	pretend(a)
	for _, c := range []struct {
		addr, user string
		want       dovecotpolicy.Standing
	}{
		{"203.0.113.1", "carol", dovecotpolicy.Standing{Refused: true}},
		{"2001:db8:7::5", "carol", dovecotpolicy.Standing{Refused: true}},
		{"203.0.113.17", "bob", dovecotpolicy.Standing{Trusted: true}},
		{"203.0.113.2", "carol", dovecotpolicy.Standing{Suspicion: limitSuspicion}},
		{"203.0.113.99", "carol", dovecotpolicy.Standing{}},
		{"203.0.113.99", "Bob", dovecotpolicy.Standing{Refused: true, Guarded: true}},
		{"198.51.100.105", "carol", dovecotpolicy.Standing{Refused: true}},
	} {
		if got := mustStanding(t, a, c.addr, c.user); got != c.want {
			t.Errorf("%s for %s: %+v, want %+v", c.addr, c.user, got, c.want)
		}
	}
	if got := mustStanding(t, a, "192.0.2.7", "bob"); got.Refused || !got.Trusted {
		t.Errorf("bob at home: %+v", got)
	}
	if got := mustStanding(t, a, "192.0.2.9", "carol"); got.Refused || got.Trusted || !(got.Suspicion > 0.3) {
		t.Errorf("a guesser: %+v", got)
	}
	e, err := a.Explain(t.Context(), policy.Target{User: "bob"})
	if err != nil || e.Decisions[0].Evidence.Sample[0].Text != "dovecot report: …" {
		t.Errorf("explained: %+v, %v", e, err)
	}
}

// While the core is busy, nobody waits for ever.
func TestStandingInTime(t *testing.T) {
	a := newBench(t).mustStart()
	pretend(a)
	a.suspects.note(policy.SourceOf(netip.MustParseAddr("203.0.113.9")), time.Now())
	busy, free := make(chan struct{}), make(chan struct{})
	go func() { _ = a.core.do(context.Background(), func() { close(busy); <-free }) }()
	<-busy
	defer close(free)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Standing(ctx, netip.MustParseAddr("203.0.113.9"), "alice"); err == nil {
		t.Error("it was answered by nobody")
	}
	if _, err := a.Standing(ctx, netip.MustParseAddr("203.0.113.10"), "alice"); err != nil {
		t.Errorf("one of whom nothing is known: %v", err)
	}
}

// Lists enter the ledger, follow their files, and leave it with their section.
func TestListsLive(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(b.dir, "drop.txt")
	b.write(path, "203.0.113.0/24 ; SBL1\n2001:db8:bad::/48\n198.51.100.3\n")
	b.extra = fmt.Sprintf("[[list]]\nname = \"droplist\"\npath = %q\n", path)
	b.configure()
	a := b.mustStart()
	list := func() string {
		var rows []string
		for _, r := range mustRows(t, a, control.Filter{Rule: "droplist"}) {
			if !r.Listed || r.Pinned || r.Until != nil {
				t.Errorf("%+v", r)
			}
			text := r.Source + " " + strings.TrimPrefix(r.Reason, b.dir+"/")
			if r.OverriddenBy != "" {
				text += " overridden"
			}
			rows = append(rows, text)
		}
		return strings.Join(rows, ", ")
	}
	const first = "198.51.100.3 drop.txt:3 overridden, 203.0.113.0/24 drop.txt:1: SBL1, 2001:db8:bad::/48 drop.txt:2"
	if got := list(); got != first {
		t.Errorf("at first: %s", got)
	}
	e, err := a.Explain(t.Context(), policy.Target{Prefix: netip.MustParsePrefix("203.0.113.9/32")})
	if err != nil || e.Verdict != "drop" || !strings.Contains(e.Why, "list droplist") {
		t.Errorf("explained: %+v, %v", e, err)
	}
	b.write(path, "nonsense\n")
	mustWait(t, "the mistake to be said", func() bool { return strings.Contains(b.output.String(), "drop.txt:1:") })
	if got := list(); got != first {
		t.Errorf("with a broken file: %s", got)
	}
	b.write(path, "# shorter\n203.0.113.0/24 ; SBL1\n192.0.2.99\n")
	mustWait(t, "the new list", func() bool { return list() == "192.0.2.99 drop.txt:3, 203.0.113.0/24 drop.txt:2: SBL1" })

	// A start while the file is broken has what was good last.
	mustStop(t, a)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	a = b.mustStart()
	if got := list(); !strings.HasPrefix(got, "192.0.2.99 ") {
		t.Errorf("started without the file: %s", got)
	}
	s, err := a.Status(t.Context())
	if err != nil || !strings.Contains(strings.Join(s.Notes, "\n"), "list droplist: 2 prefixes to drop, from "+path) {
		t.Errorf("notes %q, %v", s.Notes, err)
	}
	b.extra = ""
	b.configure()
	a.reload()
	if got := list(); got != "" {
		t.Errorf("without its section: %s", got)
	}
}

// A flagged user gives one notice, by a command whose input and environment
// hold what there is to tell; no shell sees the name.
func TestNoticesLive(t *testing.T) {
	b := newBench(t)
	told := filepath.Join(b.dir, "told")
	script := filepath.Join(b.dir, "tell.sh")
	b.write(script, "#!/bin/sh\n{ env; cat; echo; echo END; } >>"+told+"\n")
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	b.extra = ruling + fmt.Sprintf("[notify]\ncommand = [%q]\n", script)
	b.configure()
	a := b.mustStart()
	now := b.clock()
	for n := range 40 {
		mustHear(t, a, policy.Event{
			Time: now.Add(-time.Duration(60-n) * time.Second), Kind: policy.AuthSuccess, Source: netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", n)),
			User: "o'neil;$(id)", Service: "imap", Server: "dovecot",
		})
	}
	b.setClock(now.Add(time.Minute))
	var text string
	mustWait(t, "the notice", func() bool {
		all, err := os.ReadFile(told)
		text = string(all)
		return err == nil && strings.HasSuffix(text, "\nEND\n")
	})
	for _, part := range []string{
		"WEIR_USER=o'neil;$(id)\n", "WEIR_ACTION=guard\n", "WEIR_RULE=sources-per-user\n", "WEIR_MODE=observe\n",
		`WEIR_RELEASE=weir release -- 'o'\''neil;$(id)'` + "\n", `"user":"o'neil;$(id)"`, `"source":"203.0.113.0"`, `"stopped":{"sources":40,`, `"more_sources":30`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	if n := strings.Count(text, "WEIR_USER="); n != 1 {
		t.Errorf("%d notices", n)
	}
}

// A service that cannot start is said, and does not keep the agent from running.
func TestServiceCannotStart(t *testing.T) {
	b := newBench(t)
	key := filepath.Join(b.dir, "key")
	b.extra = fmt.Sprintf("[dovecot_policy]\nlisten = [%q]\napi_key_file = %q\n", "unix:"+filepath.Join(b.dir, "dovecot.sock"), key)
	b.configure()
	a := b.mustStart()
	if !strings.Contains(b.output.String(), "the Dovecot policy server does not run as configured") || !strings.Contains(b.output.String(), "openssl rand") {
		t.Errorf("said:\n%s", b.output)
	}
	b.write(key, "0123456789abcdef\n")
	a.reload()
	if _, running := a.dovecotNote(); !running {
		t.Errorf("with a key: %s", b.output)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "dovecot.sock")); err != nil {
		t.Error(err)
	}
	mustStop(t, a)
	if _, err := os.Stat(filepath.Join(b.dir, "dovecot.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// A login that Dovecot reported before a restart, and that the log tells of
// after it, counts once; so it does after a crash, and when a checkpoint of
// before knew nothing of tellings, that one is read.
func TestReportedBeforeRestart(t *testing.T) {
	b := newBench(t)
	key := filepath.Join(b.dir, "key")
	b.write(key, "0123456789abcdef\n")
	b.extra = fmt.Sprintf("[dovecot_policy]\nlisten = [%q]\napi_key_file = %q\n", "unix:"+filepath.Join(b.dir, "dovecot.sock"), key)
	b.configure()
	a := b.mustStart()
	failure := func(n int) policy.Event {
		return policy.Event{Time: b.clock(), Kind: policy.AuthFailure, Source: netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", n)), User: "bob", Server: "dovecot"}
	}
	line := func(n int) string {
		return fmt.Sprintf("%s mx postfix/smtpd[712]: warning: unknown[203.0.113.%d]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n", b.clock().Format(time.RFC3339), n)
	}
	events := func(a *Agent) (n uint64) {
		t.Helper()
		if err := a.core.do(t.Context(), func() {
			a.core.settle(b.clock(), true)
			if in := a.core.inputs["file:"+b.log]; in != nil {
				n = in.events
			}
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	mustHear(t, a, failure(1), failure(2))
	mustStop(t, a)
	a = b.mustStart()
	mustAppend(t, b.log, line(1)+line(3))
	mustReach(t, a, 2)
	if n := events(a); n != 1 {
		t.Errorf("%d events came of the log after a restart, of which one was reported before", n)
	}
	mustCheckpoint(t, a)
	mustHear(t, a, failure(4)) // which the crash forgets; the log has it
	kill(a)
	a = b.mustStart()
	mustAppend(t, b.log, line(2)+line(4))
	mustReach(t, a, 4)
	if n := events(a); n != 1 {
		t.Errorf("%d events came of the log after a crash", n)
	}
}
