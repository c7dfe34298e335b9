package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/tests/lab"
)

// policySocket is where weir listens in a lab, in place of /run/weir.
func policySocket(l *lab.Lab) string { return l.Path("policy.sock") }

// mustPolicyStage is a stage on which Postfix asks weir as the documentation
// says, with other quotas. quotas is TOML below [quota].
func mustPolicyStage(t *testing.T, quotas string, options lab.Options) *stage {
	t.Helper()
	if options.MainCF == nil {
		options.MainCF = func(l *lab.Lab) string {
			return strings.ReplaceAll(snippet(t, "policy-server.md", "main.cf", 0), "/run/weir/policy.sock", policySocket(l))
		}
	}
	return mustStageFor(t, options, "enforce", func(l *lab.Lab) string {
		server := snippet(t, "policy-server.md", "toml", 0)
		server = strings.ReplaceAll(server[:strings.Index(server, "[quota]")], "/run/weir/policy.sock", policySocket(l))
		return rules + server + "[quota]\n" + quotas
	})
}

func (s *stage) submit(from netip.Addr, user string, recipients int) error {
	s.Helper()
	var to []string
	for n := range recipients {
		to = append(to, fmt.Sprintf("r%d@%s", n, lab.Elsewhere))
	}
	return s.lab.Submit(s.Context(), from, user, user+"@"+lab.Domain, to, "hello")
}

// queued counts the messages that Postfix has taken.
func (s *stage) queued(user string) int {
	s.Helper()
	log, err := os.ReadFile(s.lab.MailLog())
	if err != nil {
		s.Fatal(err)
	}
	return strings.Count(string(log), ": from=<"+user+"@"+lab.Domain+">, size=")
}

// A user over the quota is told when to come again, and everything else goes
// on; the state survives a restart and a kill.
func TestQuota(t *testing.T) {
	s := mustPolicyStage(t, `recipients = ["10/1h"]`, lab.Options{})
	for range 3 {
		if err := s.submit(good4, "alice", 3); err != nil {
			t.Fatal(err)
		}
	}
	err := s.submit(good4, "alice", 2)
	if !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), `450 "4.7.1`) || !strings.Contains(err.Error(), "The limit of 10 recipients in 1h is reached; send again after ") {
		t.Errorf("two recipients beyond the quota: %v", err)
	}
	err = s.submit(good4, "alice", 11)
	if !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), `554 "5.7.1`) || !strings.Contains(err.Error(), "send it to fewer at a time") {
		t.Errorf("a message that will never fit: %v", err)
	}
	if err := s.submit(good4, "bob", 3); err != nil {
		t.Errorf("another user: %v", err)
	}
	s.mustPoll(lab.Patience, "alice to be listed", func() bool { return strings.Contains(s.must("list"), "alice") })
	t.Logf("\n%s\n%s\n%s\n%s\n%s", s.must("list"), s.must("explain", "alice"), s.must("user", "list"), s.must("user", "show", "alice"), s.must("status"))
	s.mustContain(s.must("explain", "alice"), "told to come back later", "9 recipients in 1h and 2 more, of 10")
	s.mustContain(s.must("user", "show", "alice"), "9 spent (90 %)", good4.String())
	if status := s.must("status"); strings.Contains(status, "DROPPED") || strings.Contains(status, "not understood") {
		t.Errorf("status:\n%s", status)
	}

	spent := func(when string) {
		t.Helper()
		s.mustContain(s.must("user", "show", "alice"), "9 spent (90 %)")
		if err := s.submit(good4, "alice", 2); !errors.Is(err, lab.ErrRefused) {
			t.Errorf("%s: %v", when, err)
		}
	}
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	spent("after a restart")
	if err := s.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	spent("after a kill")
	t.Logf("%s", s.must("user", "reset", "alice"))
	if err := s.submit(good4, "alice", 10); err != nil {
		t.Errorf("after a reset: %v", err)
	}
	s.must("user", "set", "alice", "--recipients", "40/1h", "--for", "1h", "--reason", "a party")
	if err := s.submit(good4, "alice", 20); err != nil {
		t.Errorf("quotas of her own: %v", err)
	}
	if err := s.submit(good4, "alice", 20); !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), "The limit of 40 recipients in 1h is reached") {
		t.Errorf("over quotas of her own: %v", err)
	}
	if err := s.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	t.Logf("%s\n%s\n%s", s.must("user", "show", "alice"), s.must("explain", "alice"), s.must("list"))
	s.mustContain(s.must("user", "show", "alice"), "quota 40/1h recipients")
	s.must("user", "set", "alice", "--action", "allow", "--for", "1h", "--reason", "test")
	if err := s.submit(good4, "alice", 20); err != nil {
		t.Errorf("set to allow: %v", err)
	}
	s.must("user", "set", "bob", "--action", "defer")
	if err := s.submit(good4, "bob", 1); !errors.Is(err, lab.ErrRefused) {
		t.Errorf("set to defer: %v", err)
	}
}

// Each kind of answer does in Postfix what it is for.
func TestPolicyReplies(t *testing.T) {
	s := mustPolicyStage(t, "messages = [\"1/1h\"]\n[quota.user.bob]\nexempt = true\n", lab.Options{})
	text, err := os.ReadFile(s.weir.Config)
	if err != nil {
		t.Fatal(err)
	}
	set := func(kind string) {
		t.Helper()
		changed := strings.Replace(string(text), "[postfix_policy]\n", fmt.Sprintf("[postfix_policy]\nover_quota = %q\npause = \"2s\"\n", kind), 1)
		if err := os.WriteFile(s.weir.Config, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(s.lab.Output("weir"), "configuration reloaded")
		if err := s.weir.Signal(hangup); err != nil {
			t.Fatal(err)
		}
		s.mustPoll(lab.Patience, "the reload", func() bool { return strings.Count(s.lab.Output("weir"), "configuration reloaded") > before })
	}
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Fatal(err)
	}
	set("slow")
	begun := time.Now()
	if err := s.submit(good4, "alice", 1); err != nil || time.Since(begun) < 2*time.Second {
		t.Errorf("slow: %v after %v", err, time.Since(begun))
	}
	set("hold")
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Errorf("hold: %v", err)
	}
	held, _ := filepath.Glob(s.lab.Path("postfix", "queue", "hold", "*"))
	if len(held) != 1 {
		t.Errorf("held: %v", held)
	}
	set("reject")
	if err := s.submit(good4, "alice", 1); !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), `554 "5.7.1`) {
		t.Errorf("reject: %v", err)
	}
	if err := s.submit(good4, "bob", 50); err != nil {
		t.Errorf("an exempt user: %v", err)
	}
}

// smtpd in a chroot reaches the socket below its queue directory.
func TestPolicyInChroot(t *testing.T) {
	// weir.service makes this folder; Postfix starts behind it.
	folder := func(l *lab.Lab) string { return l.Path("postfix", "queue", "weir") }
	s := mustStageFor(t, lab.Options{Chroot: true, MainCF: func(*lab.Lab) string { return snippet(t, "policy-server.md", "main.cf", 1) }}, "enforce", func(l *lab.Lab) string {
		if err := os.Mkdir(folder(l), 0o755); err != nil {
			t.Fatal(err)
		}
		return rules + strings.ReplaceAll(snippet(t, "policy-server.md", "toml", 1), "/var/spool/postfix/weir", folder(l)) + "[quota]\nmessages = [\"1/1h\"]\n"
	})
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.submit(good4, "alice", 1); !errors.Is(err, lab.ErrRefused) {
		t.Errorf("over the quota: %v", err)
	}
}

// Broken weir never stops mail: while it is killed, started and stopped again
// and again in the middle of traffic, not one message is refused or lost.
func TestKillLosesNoMail(t *testing.T) {
	s := mustPolicyStage(t, `recipients = ["100000/1h"]`, lab.Options{Users: []string{"alice", "bob"}})
	var mailers []*lab.Mailer
	for i, from := range []netip.Addr{good4, good6, other4, other6} {
		mailers = append(mailers, s.lab.Mailer(t.Context(), from, []string{"alice", "bob"}[i%2], 20*time.Millisecond))
	}
	sent := func() (n int) {
		for _, m := range mailers {
			n += m.Sent()
		}
		return n
	}
	more := func(n int) {
		t.Helper()
		want := sent() + n
		s.mustPoll(2*lab.Patience, "mail to go on", func() bool { return sent() >= want })
	}
	for range 4 {
		more(8)
		if err := s.weir.Kill(); err != nil {
			t.Fatal(err)
		}
		more(8)
		s.mustStart()
	}
	more(8)
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	more(8)
	slowest := time.Duration(0)
	for _, m := range mailers {
		m.Stop()
		slowest = max(slowest, m.Slowest())
		for _, err := range m.Errors() {
			t.Error(err)
		}
	}
	s.mustPoll(lab.Patience, "all mail to be delivered", func() bool { return s.lab.Delivered("alice")+s.lab.Delivered("bob") == sent() })
	t.Logf("%d messages sent and delivered through 4 kills; the slowest took %v", sent(), slowest.Round(time.Millisecond))
	if n := s.queued("alice") + s.queued("bob"); n != sent() {
		t.Errorf("Postfix took %d, clients sent %d", n, sent())
	}
}

// The stolen account: a hundred sources at once send in alice's name. She is
// put under guard and her strangers are turned away before they are dropped;
// she herself goes on from home.
func TestStolenAccountIsHeldInTheServer(t *testing.T) {
	s := mustPolicyStage(t, `recipients = ["300/1h"]`, lab.Options{})
	text, err := os.ReadFile(s.weir.Config)
	if err != nil {
		t.Fatal(err)
	}
	// As the built-in rules do, this one leaves a user's own sources alone.
	changed := strings.Replace(string(text), "threshold = 6\n", "threshold = 6\nspare_known = \"6h\"\n", 1)
	if err := os.WriteFile(s.weir.Config, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	// Home for more than six hours: what the log says of yesterday.
	s.rememberHome("alice", good4)
	var taken, refused atomic.Int64
	var thieves sync.WaitGroup
	for n := range 100 {
		thieves.Go(func() {
			b := lab.NetA.Addr().As4()
			b[3] = byte(100 + n)
			if err := s.submit(netip.AddrFrom4(b), "alice", 5); err == nil {
				taken.Add(1)
			} else if errors.Is(err, lab.ErrRefused) {
				refused.Add(1)
			}
		})
	}
	thieves.Wait()
	t.Logf("of 100 messages %d were taken, %d refused, and %d cut off", taken.Load(), refused.Load(), 100-taken.Load()-refused.Load())
	// Six are the threshold; one more for each of Postfix's answers that are
	// under way when it is reached.
	if taken.Load() > 20 {
		t.Errorf("%d were taken", taken.Load())
	}
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Errorf("alice from home: %v\n%s", err, s.must("user", "show", "alice"))
	}
	if err := s.submit(other4, "bob", 1); err != nil {
		t.Errorf("bob: %v", err)
	}
	t.Logf("%s", s.must("user", "show", "alice"))
	s.mustContain(s.must("explain", "alice"), "guarded", "stolen")
}

// rememberHome lets the log say that a user logged in from a source yesterday.
func (s *stage) rememberHome(user string, source netip.Addr) {
	s.Helper()
	at := time.Now().Add(-20 * time.Hour)
	line := fmt.Sprintf("%s mail dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=%s, lip=192.0.2.25, mpid=1, TLS, session=<x>\n", at.Format(time.Stamp), user, source)
	f, err := os.OpenFile(s.lab.MailLog(), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.Fatal(err)
	}
	s.mustPoll(lab.Patience, "the log to be read", func() bool { return strings.Contains(s.must("user", "show", user), source.String()) })
}

// Over loopback TCP: the same answers, and the same way on without weir.
func TestPolicyOverTCP(t *testing.T) {
	options := lab.Options{MainCF: func(*lab.Lab) string {
		return strings.ReplaceAll(snippet(t, "policy-server.md", "main.cf", 0), "unix:/run/weir/policy.sock", "inet:127.0.0.1:10031")
	}}
	s := mustStageFor(t, options, "enforce", func(*lab.Lab) string {
		return rules + "[postfix_policy]\nlisten = [\"tcp:127.0.0.1:10031\", \"tcp:[::1]:10031\"]\n[quota]\nmessages = [\"1/1h\"]\n"
	})
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.submit(good6, "alice", 1); !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), "The limit of 1 messages in 1h is reached") {
		t.Errorf("over the quota: %v", err)
	}
	s.mustContain(s.must("status"), "tcp:127.0.0.1:10031", "tcp:[::1]:10031")
	if conn, err := s.lab.Dial(t.Context(), good4, 10031); err == nil {
		conn.Close()
		t.Error("the world reaches it")
	}
	if err := s.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.submit(good4, "alice", 1); err != nil {
		t.Errorf("without weir: %v", err)
	}
	s.mustStart()
	if err := s.submit(good4, "alice", 1); !errors.Is(err, lab.ErrRefused) {
		t.Errorf("when weir is there again: %v", err)
	}
}
