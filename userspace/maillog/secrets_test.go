package maillog

import (
	"strings"
	"testing"
)

func TestHideSecrets(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"mx dovecot: auth: passwd-file(carol,203.0.113.5): Password mismatch (given password: hunter2 hunter2)",
			"mx dovecot: auth: passwd-file(carol,203.0.113.5): Password mismatch (given password: [hidden]"},
		{"auth-worker: sql(bob,203.0.113.5): Password mismatch (SHA1 of given password: hunter2) - trying the next passdb",
			"auth-worker: sql(bob,203.0.113.5): Password mismatch (SHA1 of given password: [hidden]"},
		{`SMTP protocol error in "AUTH PLAIN hunter2==" H=(x) [203.0.113.5] AUTH command used when not advertised`,
			`SMTP protocol error in "AUTH PLAIN [hidden]" H=(x) [203.0.113.5] AUTH command used when not advertised`},
		{"improper command pipelining after EHLO from unknown[203.0.113.5]: auth login hunter2",
			"improper command pipelining after EHLO from unknown[203.0.113.5]: auth login [hidden]"},
		{"auth: Debug: client in: AUTH\t1\tPLAIN\tservice=imap\tresp=hunter2\tx=y", "auth: Debug: client in: AUTH\t1\tPLAIN\tservice=imap\tresp=[hidden]\tx=y"},
		{"warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=carol", ""},
		{"imap-login: Disconnected (auth failed, 1 attempts): user=<bob>, method=PLAIN, rip=203.0.113.5", ""},
		{"dovecot_login authenticator failed for (x) [203.0.113.5]: 535 Incorrect authentication data (set_id=bob)", ""},
	} {
		if test.want == "" {
			test.want = test.line // nothing to hide
		}
		if got := HideSecrets(test.line); got != test.want {
			t.Errorf("%s\n got %s", test.line, got)
		}
	}
}

// FuzzHideSecrets sees that a password in Dovecot's line never stays.
func FuzzHideSecrets(f *testing.F) {
	f.Add("carol", "hunter2")
	f.Add("a (given password: b", ") AUTH PLAIN x")
	f.Add("auth ſcram-x", " xx")
	f.Add("client_secret", "bob&access_token=x")
	f.Add("(auth failed, AuTh  scram-sha-256 ", "eHg=")
	f.Fuzz(func(t *testing.T, user, password string) {
		for _, text := range []string{user, password, user + password, "auth " + user, user + "=" + password} {
			if got, want := HideSecrets(text), secrets.ReplaceAllString(text, "${1}${2}${3}[hidden]"); got != want {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		}
		if strings.ContainsAny(user+password, "\n") {
			return // another line
		}
		before := "auth: sql(" + user + ",203.0.113.5): Password mismatch (given password: "
		got := HideSecrets(before + password + ")")
		if !strings.HasSuffix(got, "[hidden]") || len(got) > len(before)+len("[hidden]")*(1+strings.Count(user, "=")+strings.Count(strings.ToLower(user), "auth")) {
			t.Errorf("%q", got)
		}
	})
}
