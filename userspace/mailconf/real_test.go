package mailconf

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// need finds a program of a server, or skips; on CI it must be there.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: run tests/setup.sh test", name)
		}
		t.Skipf("SKIPPED, NOT TESTED: %s is missing (tests/setup.sh test installs it)", name)
	}
	return path
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// mustCopy puts files into a root folder of their own.
func mustCopy(t *testing.T, files map[string]string) (root string, f *Files) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, &Files{FS: os.DirFS(root)}
}

func mustText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPostfixAgrees: what is read of main.cf and master.cf, and of the package's
// own, is what postconf says.
func TestPostfixAgrees(t *testing.T) {
	need(t, "postconf")
	submission := strings.NewReplacer("#submission ", "submission ", "#  -o", "  -o", "#smtps ", "smtps ").Replace(mustText(t, "/usr/share/postfix/master.cf.dist"))
	root, f := mustCopy(t, map[string]string{
		"etc/postfix/main.cf": mustText(t, "/usr/share/postfix/main.cf.dist") + `
mua_client_restrictions = permit_sasl_authenticated,
    # a comment in between
    reject
mua_sender_restrictions =
mua_helo_restrictions = ${mua_sender_restrictions} permit_mynetworks
smtpd_client_restrictions = $mua_client_restrictions
smtpd_helo_restrictions = $mua_helo_restrictions
proxies = 192.0.2.1 [2001:db8::1]
smtpd_authorized_xclient_hosts = $proxies, 192.0.2.128/25
smtpd_data_restrictions = check_policy_service { unix:weir/policy.sock, timeout=2s, default_action=DUNNO }
`,
		"etc/postfix/master.cf": submission + "\n10025 inet n - y - - smtpd\n  -o { smtpd_client_restrictions = permit_mynetworks, reject }\n  -o smtpd_authorized_xclient_hosts=127.0.0.1\n",
	})
	dir := filepath.Join(root, "etc/postfix")
	p := f.Postfix(PostfixDir)
	for _, key := range []string{"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_authorized_xclient_hosts", "smtpd_data_restrictions"} {
		got, known := p.Value(nil, key)
		if want := mustRun(t, "postconf", "-c", dir, "-x", "-h", key); !known || !slices.Equal(Words(got), Words(want)) {
			t.Errorf("%s: read %q (%v), postconf says %q", key, got, known, want)
		}
	}
	services := strings.Split(mustRun(t, "postconf", "-c", dir, "-M"), "\n")
	if len(services) != len(p.Services) {
		t.Fatalf("read %d services, postconf says %d", len(p.Services), len(services))
	}
	for i, line := range services {
		fields, s := strings.Fields(line), p.Services[i]
		if s.Name != fields[0] || s.Type != fields[1] || s.Command != fields[7] || fields[4] != "-" && s.Chroot != (fields[4] == "y") {
			t.Errorf("read %+v, postconf says %s", s, line)
		}
	}
	options := 0
	for line := range strings.SplitSeq(mustRun(t, "postconf", "-c", dir, "-P"), "\n") {
		name, want, _ := strings.Cut(line, " = ")
		parts := strings.SplitN(name, "/", 3)
		i := slices.IndexFunc(p.Services, func(s Service) bool { return s.Name == parts[0] && s.Type == parts[1] })
		if i < 0 || !slices.Equal(Words(p.Services[i].Options[parts[2]]), Words(want)) {
			t.Errorf("postconf says %s, read %q", line, p.Services[max(i, 0)].Options)
		}
		options++
	}
	if options < 10 {
		t.Errorf("only %d options were compared", options)
	}
}

// TestDovecotAgrees: what is read of the package's own configuration, and of
// what is added to it, is what doveconf says.
func TestDovecotAgrees(t *testing.T) {
	need(t, "doveconf")
	files := map[string]string{"etc/dovecot/dovecot.conf": mustText(t, "/usr/share/dovecot/dovecot.conf")}
	parts, err := filepath.Glob("/usr/share/dovecot/conf.d/*")
	if err != nil || len(parts) == 0 {
		t.Fatalf("the package has no conf.d: %v", err)
	}
	for _, name := range parts {
		files["etc/dovecot/conf.d/"+filepath.Base(name)] = mustText(t, name)
	}
	files["etc/dovecot/conf.d/99-weir.conf"] = `haproxy_trusted_networks = 192.0.2.80 10.0.0.0/8
login_trusted_networks = 2001:db8::/64 # webmail
auth_verbose = yes
auth_policy_server_url = http://127.0.0.1:10032/
service imap-login {
  inet_listener imaps {
    haproxy = yes
  }
}
`
	root, f := mustCopy(t, files)
	d := f.Dovecot()
	for _, key := range []string{
		"haproxy_trusted_networks", "login_trusted_networks", "auth_verbose", "auth_policy_server_url", "mail_location", "auth_mechanisms", "namespace", "log_path",
	} {
		got, want := d.Get(key), ""
		if got != "" {
			want = mustRun(t, "doveconf", "-c", filepath.Join(root, "etc/dovecot/dovecot.conf"), "-h", key)
		}
		if got != want {
			t.Errorf("%s: read %q, doveconf says %q", key, got, want)
		}
	}
	if got := d.Within("haproxy", "service", "inet_listener"); len(got) != 1 || got[0].Value != "yes" {
		t.Errorf("the listener: %+v", got)
	}
	if got := d.Trusted(); len(got) != 3 {
		t.Errorf("trusted: %+v", got)
	}
}
