package dovecotpolicy

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

// mustCaptured reads a request that a running Dovecot sent.
func mustCaptured(t testing.TB, name string) attempt {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "captured", name))
	if err != nil {
		t.Fatal(err)
	}
	a, err := readAttempt(body)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return a
}

// What Dovecot 2.3.19 and 2.4.1 send of the same logins.
func TestCapturedRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		want outcome
	}{
		{"2.3-report-wrong.json", untyped},
		{"2.3-report-database-down.json", untyped},
		{"2.3-report-right.json", succeeded},
		{"2.3-report-policy.json", excused},
		{"2.4-report-wrong.json", refused},
		{"2.4-report-unknown.json", refused},
		{"2.4-report-right.json", succeeded},
	} {
		a := mustCaptured(t, c.name)
		if got := a.outcome(); got != c.want {
			t.Errorf("%s: outcome %d, want %d", c.name, got, c.want)
		}
		at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
		e := a.event(a.outcome(), at, 7)
		if e.Source != netip.MustParseAddr("203.0.113.9") || e.User == "" || e.Service != "imap" || e.Server != "dovecot" || e.Password == 0 || e.Line != 7 {
			t.Errorf("%s: %+v", c.name, e)
		}
		wantKind := policy.AuthFailure
		if c.want == succeeded {
			wantKind = policy.AuthSuccess
		}
		if e.Kind != wantKind {
			t.Errorf("%s: kind %v", c.name, e.Kind)
		}
	}
	old, young := mustCaptured(t, "2.3-report-wrong.json"), mustCaptured(t, "2.4-report-wrong.json")
	if old.password() != young.password() {
		t.Error("one nonce, user and password give two hashes")
	}
	if right := mustCaptured(t, "2.3-report-right.json"); right.password() == old.password() {
		t.Error("two passwords give one hash")
	}
}

func TestFailTypes(t *testing.T) {
	for failType, want := range map[string]outcome{
		"credentials": refused, "account": refused, "internal": excused, "expired": excused,
		"disabled": excused, "policy": excused, "": untyped, "of the future": excused,
	} {
		a := attempt{Success: "false", FailType: field(failType)}
		if got := a.outcome(); got != want {
			t.Errorf("fail_type %q: outcome %d, want %d", failType, got, want)
		}
	}
}

// Truth values as texts, fields as lists, and what is not a value.
func TestDialects(t *testing.T) {
	a, err := readAttempt([]byte(`{"login":["carol","x"],"remote":["::ffff:203.0.113.9"],"protocol":["submission"],
		"tls":"yes","success":["true"],"policy_reject":"false","device_id":{"name":"phone"},"session_id":null,"pwhash":12,"unknown":[[]]}`))
	if err != nil {
		t.Fatal(err)
	}
	if a.user() != "carol" || a.source() != netip.MustParseAddr("203.0.113.9") || a.service() != "submission" ||
		a.outcome() != succeeded || a.Device != "" || a.Session != "" || a.Password != "12" || !a.TLS.true() {
		t.Errorf("%+v", a)
	}
}

// The hash of a mechanism that shows Dovecot no password tells nothing.
func TestPasswordOfMechanisms(t *testing.T) {
	for mechanism, known := range map[string]bool{"": true, "PLAIN": true, "login": true, "CRAM-MD5": false, "SCRAM-SHA-256": false, "XOAUTH2": false} {
		a := attempt{Password: "019c", Mechanism: field(mechanism)}
		if got := a.password() != 0; got != known {
			t.Errorf("%q: password known: %t", mechanism, got)
		}
	}
	if (&attempt{}).password() != 0 {
		t.Error("no hash is a hash")
	}
}

func TestEvidence(t *testing.T) {
	a := attempt{Login: "al\nice", Remote: "203.0.113.9", Protocol: "imap", TLS: "true", Device: "phone \"x\"", Password: "019c", FailType: "credentials"}
	text := a.evidence(refused)
	for _, part := range []string{`login="al\nice"`, `protocol="imap"`, `tls="true"`, `device_id="phone \"x\""`, `fail_type="credentials"`, "failure"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
	if strings.Contains(text, "019c") || strings.Contains(text, "\n") {
		t.Errorf("evidence: %q", text)
	}
}

func TestPasswordsAreBounded(t *testing.T) {
	p := newPasswords(100)
	source := netip.MustParseAddr("203.0.113.9")
	for n := range 1000 {
		p.succeeded(source, string(rune('a'+n%26))+string(rune('0'+n/26)), 1)
	}
	if n := len(p.young) + len(p.old); n > 200 {
		t.Errorf("%d are kept", n)
	}
	p.succeeded(source, "Alice", 5)
	other := netip.MustParseAddr("203.0.113.10")
	if !p.wasRight(source, "alice", 5) || p.wasRight(source, "alice", 6) || p.wasRight(other, "alice", 5) || p.wasRight(source, "alice", 0) {
		t.Error("a password is not known again, or another is")
	}
}

func FuzzReadAttempt(f *testing.F) {
	files, err := filepath.Glob("testdata/captured/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no captured requests", err)
	}
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"login":["a",["b"]],"remote":"fe80::1%eth0","success":"yes","tls":[[true]],"pwhash":1e9}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := readAttempt(body)
		if err != nil {
			return
		}
		o := a.outcome()
		e := a.event(o, time.Unix(1, 0), 1)
		if len(e.User) > maxUser || e.Source.Is4In6() || e.Source.Zone() != "" {
			t.Errorf("event %+v", e)
		}
		if text := a.evidence(o); len(text) > 40*maxUser || strings.ContainsAny(text, "\n\r\x00") {
			t.Errorf("evidence %q", text)
		}
	})
}
