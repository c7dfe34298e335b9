package agent

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/intake"
)

// asker is a mail server's process that asks.
type asker struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	next int
}

func (b *bench) policySocket() string { return filepath.Join(b.dir, "p.sock") }

func (b *bench) mustAsk() *asker {
	b.t.Helper()
	conn, err := net.Dial("unix", b.policySocket())
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.output)
	}
	b.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	return &asker{t: b.t, conn: conn, in: bufio.NewReader(conn)}
}

// message asks about a message of a user from a source.
func (a *asker) message(user, source string, recipients int, id string) string {
	a.t.Helper()
	a.next++
	fmt.Fprintf(a.conn, "request=smtpd_access_policy\nprotocol_state=DATA\nclient_address=%s\nclient_port=1%04d\nsasl_username=%s\nsender=%s\nrecipient_count=%d\nqueue_id=%s\ninstance=%d.%d\n\n",
		source, a.next, user, user, recipients, id, a.next, time.Now().UnixNano())
	line, err := a.in.ReadString('\n')
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.in.ReadString('\n'); err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(line, "action="), "\n")
}

func (a *asker) want(answer, begins string) {
	a.t.Helper()
	if !strings.HasPrefix(answer, begins) {
		a.t.Errorf("answered %q, want %q", answer, begins)
	}
}

// withPolicy is a bench whose agent answers policy requests, in a mode that
// enforces where there is no kernel to be touched.
func withPolicy(t *testing.T, quotas string) *bench {
	b := newBench(t)
	b.extra = fmt.Sprintf("[postfix_policy]\nlisten = [%q]\n[quota]\n%s\n", "unix:"+b.policySocket(), quotas)
	b.configure()
	return b
}

func mustUser(t *testing.T, a *Agent, name string) *control.User {
	t.Helper()
	u, err := a.User(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// spent waits until so much is spent of a user's first quota, because the
// core takes what is asked a moment later.
func mustSpend(t *testing.T, a *Agent, name string, want int) {
	t.Helper()
	mustWait(t, fmt.Sprintf("%d spent by %s", want, name), func() bool {
		if err := a.core.do(t.Context(), a.core.takeTold); err != nil {
			t.Fatal(err)
		}
		return mustUser(t, a, name).Quotas[0].Spent == want
	})
}

// lines of a message as Postfix logs it.
func logged(id, user, source string, recipients int) string {
	at := logEnd.Format(time.RFC3339)
	return fmt.Sprintf("%s mx postfix/submission/smtpd[71]: %s: client=unknown[%s], sasl_method=PLAIN, sasl_username=%s\n%s mx postfix/qmgr[8]: %s: from=<%s>, size=1, nrcpt=%d (queue active)\n",
		at, id, source, user, at, id, user, recipients)
}

// A message that is both asked about and logged counts once, one that is only
// logged counts too, and all of it survives a kill at any moment: what was
// asked about since the last checkpoint is then read from the log.
func TestAskedAndLoggedCountOnce(t *testing.T) {
	b := withPolicy(t, `recipients = ["100/1h"]`)
	a := b.mustStart()
	ask := b.mustAsk()
	ask.want(ask.message("alice", "192.0.2.10", 3, "4B00000001"), "DUNNO")
	mustAppend(t, b.log, logged("4B00000001", "alice", "192.0.2.10", 3))
	mustReach(t, a, 2)
	mustSpend(t, a, "alice", 3)
	mustAppend(t, b.log, logged("4B00000002", "alice", "192.0.2.10", 4))
	mustReach(t, a, 4)
	mustSpend(t, a, "alice", 7)
	mustCheckpoint(t, a)

	ask.want(ask.message("alice", "192.0.2.10", 5, "4B00000003"), "DUNNO")
	mustSpend(t, a, "alice", 12)
	mustAppend(t, b.log, logged("4B00000003", "alice", "192.0.2.10", 5))
	mustReach(t, a, 6)
	var events uint64
	if err := a.core.do(t.Context(), func() { events = a.core.inputs["file:"+b.log].events }); err != nil || events != 1 {
		t.Errorf("%d events came of the log: %v", events, err)
	}
	kill(a)

	a = b.mustStart()
	mustReach(t, a, 6)
	mustSpend(t, a, "alice", 12)
	mustStop(t, a)
	a = b.mustStart()
	mustSpend(t, a, "alice", 12)
}

// What a mail server asked about comes before the lines that it wrote after that,
// although the core is busy in between: it holds nothing that it has not taken.
func TestRequestsComeBeforeTheirLines(t *testing.T) {
	b := withPolicy(t, `recipients = ["100/1h"]`)
	a := b.mustStart()
	ask := b.mustAsk()
	var events uint64
	if err := a.core.do(t.Context(), func() {
		ask.want(ask.message("alice", "192.0.2.10", 3, "4B00000001"), "DUNNO")
		for range 1000 {
			runtime.Gosched() // whoever would take it without its turn, may
		}
		var lines []intake.Record
		for line := range strings.Lines(logged("4B00000001", "alice", "192.0.2.10", 3)) {
			lines = append(lines, intake.Record{Line: []byte(strings.TrimSuffix(line, "\n")), Number: uint64(len(lines) + 1)})
		}
		a.core.consume("test", lines, intake.Position{})
		events = a.core.inputs["test"].events
	}); err != nil || events != 0 {
		t.Errorf("%d events came of the log: %v", events, err)
	}
	mustSpend(t, a, "alice", 3)
}

// Who is over its quota is told so, is listed with the reason, and still is
// after a kill that may lose all counts.
func TestOverQuotaOutlivesKill(t *testing.T) {
	b := withPolicy(t, `recipients = ["10/1h"]`)
	a := b.mustStart()
	ask := b.mustAsk()
	ask.want(ask.message("Alice", "192.0.2.10", 8, "1"), "DUNNO")
	ask.want(ask.message("alice", "192.0.2.10", 8, "2"), "DUNNO") // observing: told, and not done
	mustSpend(t, a, "alice", 16)
	u := mustUser(t, a, "alice")
	if u.Decision == nil || u.Decision.Rule != policy.QuotaRule || u.Decision.Action != policy.Defer || u.Decision.Reason != "8 recipients in 1h and 8 more, of 10" {
		t.Fatalf("stands: %+v", u.Decision)
	}
	rows := mustRows(t, a, control.Filter{Action: policy.Defer})
	if len(rows) != 1 || rows[0].User != "alice" {
		t.Errorf("listed: %+v", rows)
	}
	e, err := a.Explain(t.Context(), policy.Target{User: "alice"})
	if err != nil || e.Verdict != "defer" || e.Decisions[0].Evidence == nil || e.Decisions[0].Evidence.Sample[0].Recipients != 8 {
		t.Errorf("explained: %+v, %v", e, err)
	}
	if err := a.change(t.Context(), func(*core) error { return nil }); err != nil { // it is stored
		t.Fatal(err)
	}
	kill(a)
	a = b.mustStart()
	if u := mustUser(t, a, "alice"); u.Decision == nil {
		t.Errorf("after the kill: %+v", u)
	}
	var answer policy.FlowAnswer
	a.judge.Flow(func(f *policy.Flow) { answer = f.Knock(logEnd, "alice", policy.Source{}) })
	if answer.Action != policy.FlowDeferred {
		t.Errorf("after the kill, alice is %v", answer.Action)
	}
	result, err := a.ResetUser(t.Context(), "alice")
	if err != nil || len(result.Lifted) != 1 || mustUser(t, a, "alice").Decision != nil {
		t.Errorf("reset: %+v, %v", result, err)
	}
	a.judge.Flow(func(f *policy.Flow) { answer = f.Knock(logEnd, "alice", policy.Source{}) })
	if answer.Action != policy.FlowPass {
		t.Errorf("after the reset, alice is %v", answer.Action)
	}
}

// The engine hears of requests at once: a stolen account is under guard, and
// its sources flagged, before anything is logged.
func TestAskingIsEvidence(t *testing.T) {
	b := withPolicy(t, "")
	a := b.mustStart()
	ask := b.mustAsk()
	for n := range 40 {
		ask.want(ask.message("alice", fmt.Sprintf("203.%d.113.9", n), 25, fmt.Sprint(n)), "DUNNO")
	}
	mustWait(t, "alice and the sources to be flagged", func() bool {
		return len(mustRows(t, a, control.Filter{Action: policy.Drop})) >= 20 && mustUser(t, a, "alice").Decision != nil
	})
	if d := mustUser(t, a, "alice").Decision; d.Action != policy.Guard && d.Action != policy.Limit && d.Action != policy.Defer {
		t.Errorf("%+v", d)
	}
	if s, err := a.Status(t.Context()); err != nil || s.PostfixPolicy == nil || s.PostfixPolicy.Listeners[0].Requests != 40 || s.PostfixPolicy.Lost != 0 {
		t.Errorf("%+v, %v", s.PostfixPolicy, err)
	}
}

// A reload opens and closes sockets, changes quotas and keeps what is spent.
func TestReloadPolicy(t *testing.T) {
	b := withPolicy(t, `recipients = ["10/1h", "50/1d"]`)
	a := b.mustStart()
	ask := b.mustAsk()
	ask.want(ask.message("alice", "192.0.2.10", 4, "1"), "DUNNO")
	mustSpend(t, a, "alice", 4)
	b.extra = strings.Replace(b.extra, `"10/1h", "50/1d"`, `"20/1h"`, 1)
	b.configure()
	a.reload()
	if u := mustUser(t, a, "alice"); len(u.Quotas) != 1 || u.Quotas[0].Quota != "20/1h" || u.Quotas[0].Spent != 4 {
		t.Errorf("%+v", u.Quotas)
	}
	ask.want(ask.message("alice", "192.0.2.10", 4, "2"), "DUNNO") // on the same connection
	b.extra = "[quota]\nrecipients = [\"20/1h\"]\n"
	b.configure()
	a.reload()
	if conn, err := net.Dial("unix", b.policySocket()); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
	b.extra = fmt.Sprintf("[postfix_policy]\nlisten = [%q, %q]\n", "unix:"+b.policySocket(), "unix:"+b.dir+"/no/p.sock")
	b.configure()
	a.reload()
	again := b.mustAsk()
	again.want(again.message("alice", "192.0.2.10", 4, "3"), "DUNNO")
	s, err := a.Status(t.Context())
	if err != nil || len(s.PostfixPolicy.Listeners) != 2 || s.PostfixPolicy.Listeners[1].Error == "" {
		t.Errorf("%+v, %v", s.PostfixPolicy, err)
	}
}

// What the operator sets is durable and comes before the quotas.
func TestSetUser(t *testing.T) {
	b := withPolicy(t, `recipients = ["10/1h"]`)
	a := b.mustStart()
	terms := control.Terms{Action: policy.Limit, Rate: "60/h", Burst: 20, Reason: "a list"}
	d, err := terms.UserDecision("alice", logEnd, "root")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Pin(t.Context(), []policy.Decision{d}); err != nil {
		t.Fatal(err)
	}
	kill(a)
	a = b.mustStart()
	u := mustUser(t, a, "alice")
	if u.Decision == nil || !u.Decision.Pinned || u.Decision.Action != policy.Limit || u.Decision.Burst != 20 {
		t.Fatalf("%+v", u.Decision)
	}
	ask := func(n int) (action policy.FlowAction) {
		a.judge.Flow(func(f *policy.Flow) {
			action = f.Ask(logEnd, &policy.Mail{User: "alice", Source: policy.SourceOf(netip.MustParseAddr("192.0.2.1")), Recipients: n}).Action
		})
		return action
	}
	if got := ask(12); got != policy.FlowPass {
		t.Errorf("12 recipients: %v", got)
	}
	if got := ask(12); got != policy.FlowLimited {
		t.Errorf("12 more: %v", got)
	}
	result, err := a.ResetUser(t.Context(), "alice")
	if err != nil || len(result.Lifted) != 1 || !result.Lifted[0].Pinned {
		t.Errorf("%+v, %v", result, err)
	}
	if got := ask(12); got != policy.FlowOver {
		t.Errorf("after the reset: %v", got)
	}
}

// Quotas that the operator sets for one user hold at once, lift what quotas
// decided before, outlive a kill, shelter nobody from a rule, and end.
func TestSetUserQuota(t *testing.T) {
	b := withPolicy(t, `recipients = ["10/1h"]`)
	a := b.mustStart()
	set := func(terms control.Terms) {
		t.Helper()
		d, err := terms.UserDecision("alice", a.o.Now(), "root")
		if err == nil {
			err = a.Pin(t.Context(), []policy.Decision{d})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func(n int) (action policy.FlowAction) {
		a.judge.Flow(func(f *policy.Flow) {
			action = f.Ask(a.o.Now(), &policy.Mail{User: "alice", Source: policy.SourceOf(netip.MustParseAddr("192.0.2.1")), Recipients: n}).Action
		})
		return action
	}
	asker := b.mustAsk()
	asker.want(asker.message("alice", "192.0.2.10", 8, "1"), "DUNNO")
	asker.want(asker.message("alice", "192.0.2.10", 8, "2"), "DUNNO") // observing: told, and not done
	mustSpend(t, a, "alice", 16)
	if u := mustUser(t, a, "alice"); u.Decision == nil || u.Decision.Rule != policy.QuotaRule {
		t.Fatalf("over its quota: %+v", u.Decision)
	}
	set(control.Terms{Recipients: []string{"50/1h"}, For: "2h", Reason: "a wedding"})
	u := mustUser(t, a, "alice")
	if u.Decision == nil || u.Decision.Quota != "50/1h recipients" || u.Own != nil || u.Quotas[0].Quota != "50/1h" || u.Quotas[0].Spent != 16 {
		t.Errorf("set: %+v, %+v", u.Decision, u.Quotas)
	}
	if rows := mustRows(t, a, control.Filter{Action: policy.Defer}); len(rows) != 0 {
		t.Errorf("still standing: %+v", rows)
	}
	if e, err := a.Explain(t.Context(), policy.Target{User: "alice"}); err != nil || e.Verdict != "quota" || !strings.Contains(e.Why, "pin quota alice") {
		t.Errorf("explained: %+v, %v", e, err)
	}
	kill(a)
	a = b.mustStart()
	if got := ask(30); got != policy.FlowPass {
		t.Errorf("after a kill: %v", got)
	}

	guard := policy.Decision{Target: policy.Target{User: "alice"}, Action: policy.Guard, Rule: "stolen", Since: a.o.Now(), Until: a.o.Now().Add(time.Hour), Reason: "six sources"}
	if err := a.change(t.Context(), func(c *core) error { c.decision(&guard); return nil }); err != nil {
		t.Fatal(err)
	}
	u = mustUser(t, a, "alice")
	if u.Decision == nil || u.Decision.Action != policy.Guard || u.Own == nil || u.Own.Quota != "50/1h recipients" {
		t.Errorf("guarded: %+v, own %+v", u.Decision, u.Own)
	}
	if got := ask(1); got != policy.FlowStranger {
		t.Errorf("a stranger of a guarded user with quotas of its own: %v", got)
	}
	if e, err := a.Explain(t.Context(), policy.Target{User: "alice"}); err != nil || e.Verdict != "guard" || len(e.Decisions) != 2 || !e.Decisions[0].Wins {
		t.Errorf("explained: %+v, %v", e, err)
	}
	if _, onUser := a.core.ledger.standing(netip.MustParsePrefix("192.0.2.1/32"), "alice", a.o.Now()); onUser == nil || onUser.Action != policy.Guard {
		t.Errorf("Dovecot is told of %+v", onUser)
	}
	result, err := a.ResetUser(t.Context(), "alice")
	if err != nil || len(result.Lifted) != 1 || result.Lifted[0].Quota == "" || result.Stands == nil {
		t.Errorf("reset: %+v, %v", result, err)
	}
	if u = mustUser(t, a, "alice"); u.Own != nil || u.Quotas[0].Quota != "10/1h" {
		t.Errorf("after the reset: %+v", u)
	}

	set(control.Terms{Recipients: []string{"50/1h"}, For: "2h"})
	if err := a.core.do(t.Context(), func() { a.core.expire(a.o.Now().Add(3 * time.Hour)) }); err != nil {
		t.Fatal(err)
	}
	if u = mustUser(t, a, "alice"); u.Decision != nil || u.Quotas[0].Quota != "10/1h" {
		t.Errorf("when its time is over: %+v", u)
	}
}

// What is left in a limited user's bucket is kept over a stop.
func TestLimitedUserStaysLimited(t *testing.T) {
	b := withPolicy(t, "")
	a := b.mustStart()
	d, err := (&control.Terms{Action: policy.Limit, Rate: "60/h", Burst: 20}).UserDecision("alice", a.o.Now(), "root")
	if err == nil {
		err = a.Pin(t.Context(), []policy.Decision{d})
	}
	if err != nil {
		t.Fatal(err)
	}
	asker := b.mustAsk()
	asker.want(asker.message("alice", "192.0.2.10", 14, "1"), "DUNNO")
	asker.conn.Close()
	mustStop(t, a)
	a = b.mustStart()
	var answer policy.FlowAnswer
	a.judge.Flow(func(f *policy.Flow) {
		answer = f.Ask(a.o.Now(), &policy.Mail{User: "alice", Source: policy.SourceOf(netip.MustParseAddr("192.0.2.10")), Recipients: 14})
	})
	if answer.Action != policy.FlowLimited || answer.Until.IsZero() {
		t.Errorf("after a restart: %+v", answer)
	}
}
