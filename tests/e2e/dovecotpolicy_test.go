package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/tests/lab"
)

const policyKey = "0123456789abcdef0123456789abcdef"

// mustDovecot returns Dovecot's side of docs/dovecot.md as it is written, with
// the key and the nonce filled in.
func mustDovecot(t *testing.T, version string) string {
	t.Helper()
	return strings.NewReplacer("KEY", policyKey, "NONCE", "of this test").Replace(snippet(t, "dovecot.md", "dovecot-"+version, 0))
}

// mustAnswer writes a key and returns more and weir's side of the same page.
func mustAnswer(t *testing.T, key, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	return more + "\n" + strings.ReplaceAll(snippet(t, "dovecot.md", "toml", 0), "/etc/weir/dovecot.key", path)
}

// guarding puts a user under guard who logs in from five strange sources: the
// owner's is strange at first, too.
const guarding = `
[[rule]]
name = "stolen"
events = ["auth_success"]
per = "user"
measure = "sources"
threshold = 5
within = "1h"
spare_known = "1s"
action = "drop"
for = "1h"
`

// login logs in once by IMAP.
func (s *stage) login(from netip.Addr, user, password string) error {
	s.Helper()
	session, err := s.lab.OpenIMAP(s.Context(), from)
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Login(user, password)
}

// settle makes an address the user's home: it logs in twice, far enough apart
// for the rule.
func (s *stage) settle(from netip.Addr, user string) {
	s.Helper()
	first := time.Now()
	for n := 0; n == 0 || time.Since(first) < 2*time.Second; n++ {
		if err := s.login(from, user, lab.Password); err != nil {
			s.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond) // of the real world: the rule counts in its time
	}
}

// steal has bob's password used by thieves until bob is guarded. weir may close
// the last one's session before the server has answered.
func (s *stage) steal(login func(n int) error) {
	s.Helper()
	for n := range 4 {
		if err := login(n); err != nil && (n < 3 || !errors.Is(err, syscall.ECONNRESET)) {
			s.Fatalf("thief %d: %v", n, err)
		}
	}
	s.mustPoll(lab.Patience, "bob to be guarded", func() bool {
		return len(s.mustList("--rule", "stolen", "--action", "guard")) == 1
	})
}

// The password is stolen. The user is guarded; a stranger with the right
// password is refused before it is looked at, and the owner reads mail at home.
func TestGuardedUsersStrangerIsRefused(t *testing.T) {
	s := mustStageWith(t, lab.Options{Dovecot: mustDovecot(t, "2.3")}, "enforce", mustAnswer(t, policyKey, guarding))
	s.settle(good4, "bob")
	s.steal(func(n int) error { return s.login(thief(n), "bob", lab.Password) })
	for _, password := range []string{lab.Password, "a wrong one"} {
		err := s.login(thief(9), "bob", password)
		if !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), "This account is protected") {
			t.Errorf("a stranger with %q: %v", password, err)
		}
	}
	for range 3 {
		if _, err := s.lab.Subjects(t.Context(), good4, "bob"); err != nil {
			t.Errorf("the owner at home: %v", err)
		}
	}
	if err := s.login(thief(9), "alice", lab.Password); err != nil {
		t.Errorf("somebody else from the stranger's address: %v", err)
	}
	log, err := os.ReadFile(s.lab.MailLog())
	if err != nil {
		t.Fatal(err)
	}
	s.mustContain(string(log), "Authentication failure due to policy server refusal: This account is protected")
	s.mustContain(s.must("explain", "bob"), "guarded", "dovecot report: success", `tls="true"`, `protocol="imap"`)
	s.mustContain(s.must("status"), "Dovecot is answered on", "2 refused")
	// It is lifted, and the stranger is one no longer.
	s.must("release", "bob")
	if err := s.login(thief(9), "bob", lab.Password); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

// In mode observe nobody is refused.
func TestObserveRefusesNobody(t *testing.T) {
	s := mustStageWith(t, lab.Options{Dovecot: mustDovecot(t, "2.3")}, "observe", mustAnswer(t, policyKey, guarding))
	for n := range 6 {
		if err := s.login(thief(n), "bob", lab.Password); err != nil {
			t.Fatalf("thief %d: %v", n, err)
		}
	}
	if got := s.mustList("--rule", "stolen", "--action", "guard"); len(got) != 1 {
		t.Errorf("guarded: %+v", got)
	}
}

// A failed login of which Dovecot's report, its auth process and its login
// process tell counts once, and so does one of Postfix's that asks Dovecot.
func TestOneLoginCountsOnce(t *testing.T) {
	s := mustStageWith(t, lab.Options{Dovecot: mustDovecot(t, "2.3")}, "enforce", mustAnswer(t, policyKey, rules))
	for n := range 2 {
		if err := s.login(attacker4, "alice", fmt.Sprint("guess ", n)); !errors.Is(err, lab.ErrRefused) {
			t.Fatal(err)
		}
	}
	session, err := s.lab.Submission(t.Context(), attacker4, 587)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := session.Auth("alice", fmt.Sprint("other guess ", n)); !errors.Is(err, lab.ErrRefused) {
			t.Fatal(err)
		}
	}
	session.Close()
	// All has been told when the log holds the end of the sessions, and is read.
	s.mustPoll(lab.Patience, "the log to tell of all and to be read", func() bool {
		log, _ := os.ReadFile(s.lab.MailLog())
		return strings.Count(string(log), "imap-login: Info: Disconnected") >= 3 && // and one of the start
			strings.Count(string(log), "SASL PLAIN authentication failed") == 2 && s.mustStatus().Intakes[0].Lines+s.skipped >= s.logLines()
	})
	if rows := s.mustList("--rule", "guessing"); len(rows) != 0 {
		t.Fatalf("four attempts counted as five: %+v", rows)
	}
	if err := s.login(attacker4, "alice", "the fifth"); err == nil {
		t.Fatal("a guess was right")
	}
	s.mustPoll(lab.Patience, "the fifth to count", func() bool { return len(s.mustList("--rule", "guessing")) == 1 })
	s.mustContain(s.must("explain", attacker4.String()), "5 failed logins")
}

// weir that hangs, is gone, or knows another key lets all logins go on.
func TestBrokenWeirStopsNoLogin(t *testing.T) {
	s := mustStageWith(t, lab.Options{Dovecot: mustDovecot(t, "2.3")}, "enforce", mustAnswer(t, policyKey, rules))
	try := func(when string, most time.Duration) {
		t.Helper()
		begun := time.Now()
		if err := s.login(good4, "alice", lab.Password); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if err := s.login(good4, "alice", "wrong"); !errors.Is(err, lab.ErrRefused) {
			t.Errorf("%s, a wrong password: %v", when, err)
		}
		took := time.Since(begun)
		t.Logf("%s: two logins took %s", when, took)
		if took > most {
			t.Errorf("%s: two logins took %s", when, took)
		}
	}
	try("weir runs", lab.Patience)
	if err := s.weir.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	try("weir hangs", 3*2*time.Second+lab.Patience/2) // three requests, two seconds each
	if err := s.weir.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := s.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	try("weir was killed", lab.Patience)
	if err := s.weir.Configure("enforce", strings.ReplaceAll(mustAnswer(t, policyKey, rules), "10032", "10033")); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	try("weir listens elsewhere", lab.Patience)
	if err := s.weir.Configure("enforce", mustAnswer(t, "another key than Dovecot's", rules)); err != nil {
		t.Fatal(err)
	}
	if err := s.weir.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.mustPoll(lab.Patience, "the key to be the other one", func() bool {
		_ = s.login(good4, "alice", lab.Password)
		return strings.Contains(s.must("status"), "requests without the right API key")
	})
	try("the key is wrong", lab.Patience)
}

// The suspicious are delayed, more and more; who has a good past is not.
func TestSuspiciousAreDelayed(t *testing.T) {
	const slow = `
[[rule]]
name = "guessing"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 16
within = "10m"
spare_known = "1s"
action = "drop"
for = "1h"
`
	s := mustStageWith(t, lab.Options{Dovecot: mustDovecot(t, "2.3")}, "enforce", mustAnswer(t, policyKey, slow))
	s.settle(good4, "alice")
	took := func(from netip.Addr, n int) time.Duration {
		begun := time.Now()
		if err := s.login(from, "alice", fmt.Sprint("guess ", n)); !errors.Is(err, lab.ErrRefused) {
			t.Errorf("guess %d from %s: %v", n, from, err)
		}
		return time.Since(begun)
	}
	var first, last time.Duration
	for n := range 9 {
		last = took(attacker4, n)
		if n == 0 {
			first = last
		}
		if at := took(good4, n); at > 900*time.Millisecond {
			t.Errorf("a typing error at home was delayed by %s", at)
		}
	}
	// Eight of sixteen: three seconds.
	if first > time.Second || last < 3*time.Second || last > 6*time.Second {
		t.Errorf("the first took %s, the ninth %s", first, last)
	}
	t.Logf("the first guess took %s, the ninth %s", first, last)
}

// Dovecot 2.4, by the snippet for it.
func TestDovecot24(t *testing.T) {
	s := mustStageWith(t, lab.Options{Bare: true}, "enforce", mustAnswer(t, policyKey, guarding))
	if err := s.lab.StartDovecot24(t.Context(), []string{"alice", "bob"}, mustDovecot(t, "2.4")); err != nil {
		if errors.Is(err, lab.ErrUnavailable) && os.Getenv("CI") != "true" {
			t.Skipf("SKIPPED, nothing was tested: %v", err)
		}
		t.Fatal(err)
	}
	login := func(from netip.Addr, password string) error {
		session, err := s.lab.OpenPlainIMAP(t.Context(), from)
		if err != nil {
			return err
		}
		defer session.Close()
		return session.Login("bob", password)
	}
	for first := time.Now(); time.Since(first) < 2*time.Second; time.Sleep(500 * time.Millisecond) {
		if err := login(good4, lab.Password); err != nil {
			t.Fatal(err)
		}
	}
	s.steal(func(n int) error { return login(thief(n), lab.Password) })
	if err := login(thief(9), lab.Password); !errors.Is(err, lab.ErrRefused) || !strings.Contains(err.Error(), "This account is protected") {
		t.Errorf("a stranger: %v", err)
	}
	if err := login(good4, lab.Password); err != nil {
		t.Errorf("the owner at home: %v", err)
	}
	if err := login(good4, "wrong"); !errors.Is(err, lab.ErrRefused) {
		t.Errorf("a typing error at home: %v", err)
	}
	s.mustContain(s.must("status"), "1 refused", "and 1 failures")
	s.mustContain(s.must("explain", "bob"), `mech="PLAIN"`)
}

// A telephone that nobody has told of the new password tries the old one for
// ever, from an address where nothing ever succeeded. Dovecot's hash shows that
// it is the same one: it is no guesser, by the default rules. One that tries as
// many different passwords is.
func TestStaleTelephone(t *testing.T) {
	s := mustStageWith(t, lab.Options{Dovecot: mustDovecot(t, "2.3")}, "enforce", mustAnswer(t, policyKey, ""))
	phone, guesser := other4, attacker4
	for n := range 15 {
		if err := s.login(phone, "alice", "the old one"); !errors.Is(err, lab.ErrRefused) {
			t.Fatalf("the telephone's try %d: %v", n+1, err)
		}
	}
	if rows := s.mustList(); len(rows) != 0 {
		t.Errorf("flagged: %+v", rows)
	}
	for n := range 15 {
		if err := s.login(guesser, "bob", fmt.Sprint("guess ", n)); !errors.Is(err, lab.ErrRefused) {
			break
		}
	}
	s.mustPoll(lab.Patience, "the guesser to be flagged", func() bool { return len(s.mustList("--prefix", guesser.String())) == 1 })
	s.wantReachable(true, phone)
}
