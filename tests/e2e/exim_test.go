package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
)

// eximConf is an Exim that lets everybody log in and throws all mail away.
// The ACL is the documentation's.
const eximConf = `
primary_hostname = mail.example.test
spool_directory = DIR/spool
log_file_path = DIR/%slog
pid_file_path = DIR/exim.pid
log_selector = +received_recipients +incoming_interface +pid +smtp_no_mail
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = acl_weir
begin acl
ACL
begin routers
away:
  driver = redirect
  data = :blackhole:
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = yes
  server_set_id = $auth2
`

// nobody is who Exim runs as here.
const nobody = 65534

// mustExim starts the Exim that tests/setup.sh has unpacked: it cannot be
// installed beside Postfix. The user that it is made for is there for it alone.
func mustExim(t *testing.T, l *lab.Lab) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "weir-bench", "debian")
	binary := filepath.Join(root, "usr", "sbin", "exim4")
	if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, nothing was tested: %v: run tests/setup.sh test", err)
	}
	dir := l.Path("exim")
	for _, path := range []string{dir, filepath.Join(dir, "spool")} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "spool"), l.MailLog()} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(l.MailLog(), filepath.Join(dir, "mainlog")); err != nil {
		t.Fatal(err)
	}
	acl := strings.ReplaceAll(snippet(t, "policy-server.md", "exim", 0), "/run/weir/policy.sock", policySocket(l))
	conf := strings.NewReplacer("DIR", dir, "ACL", acl).Replace(eximConf)
	mustWriteFile(t, filepath.Join(dir, "exim.conf"), conf)
	for _, name := range []string{"passwd", "group"} {
		text, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		entry := map[string]string{"passwd": "Debian-exim:x:65534:65534::/:/bin/false\n", "group": "Debian-exim:x:65534:\n"}[name]
		mustWriteFile(t, filepath.Join(dir, name), string(text)+entry)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", `mount --bind "$0/passwd" /etc/passwd; mount --bind "$0/group" /etc/group; exec "$1" -bdf -oX 587 -C "$0/exim.conf"`, dir, binary)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(root, "usr", "lib", "x86_64-linux-gnu"))
	if _, err := l.Start(l.Mail, "exim", cmd); err != nil {
		t.Fatal(err)
	}
	if err := lab.Poll(t.Context(), lab.Patience, "Exim to answer", func() bool { return l.Reachable(t.Context(), good4, 587) }); err != nil {
		t.Fatalf("%v\n%s", err, l.Output("exim"))
	}
}

func mustWriteFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// plainSubmit sends a message as a user and returns the server's last word.
func plainSubmit(t *testing.T, l *lab.Lab, user string, recipients int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	conn, err := l.Dial(ctx, good4, 587)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(lab.Patience)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	answer := func(conn net.Conn, line string) string {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for whole := ""; ; {
			text, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v\n%s", line, err, l.Output("exim"))
			}
			text = strings.TrimSpace(text)
			if whole == "" {
				whole = text[:min(3, len(text))]
			}
			whole += " " + text[min(4, len(text)):]
			if len(text) < 4 || text[3] != '-' {
				return whole
			}
		}
	}
	answer(conn, "")
	answer(conn, "EHLO client.example.test")
	if got := answer(conn, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00x"))); !strings.HasPrefix(got, "235") {
		t.Fatalf("login: %s", got)
	}
	answer(conn, "MAIL FROM:<someone@example.test>")
	for n := range recipients {
		answer(conn, fmt.Sprintf("RCPT TO:<r%d@elsewhere.test>", n))
	}
	answer(conn, "DATA")
	return answer(conn, "Subject: x\r\n\r\nx\r\n.")
}

// Exim asks as the documentation says; a message that it asks about and logs
// counts once; a name that a client writes cannot forge a request; without
// weir, mail goes on.
func TestEximAsks(t *testing.T) {
	s := mustStageFor(t, lab.Options{Bare: true}, "enforce", func(l *lab.Lab) string {
		return rules + fmt.Sprintf("[postfix_policy]\nlisten = [%q]\nusers = [\"nobody\"]\n[quota]\nrecipients = [\"10/1h\"]\n", "unix:"+policySocket(l))
	})
	mustExim(t, s.lab)
	if got := plainSubmit(t, s.lab, "alice", 6); !strings.HasPrefix(got, "250") {
		t.Fatalf("the first message: %s", got)
	}
	s.mustPoll(lab.Patience, "the log to be read", func() bool {
		log, _ := os.ReadFile(s.lab.MailLog())
		return strings.Contains(string(log), "<= someone@example.test") && s.readAll(s.skipped)
	})
	s.mustContain(s.must("user", "show", "alice"), "6 spent (60 %)")
	got := plainSubmit(t, s.lab, "alice", 6)
	if !strings.HasPrefix(got, "451") || !strings.Contains(got, "The limit of 10 recipients in 1h is reached; send again after") {
		t.Errorf("over the quota: %s", got)
	}
	if got := plainSubmit(t, s.lab, "alice", 11); !strings.HasPrefix(got, "550") || !strings.Contains(got, "send it to fewer at a time") {
		t.Errorf("a message that never fits: %s", got)
	}
	if got := plainSubmit(t, s.lab, "mallory\nsasl_username=alice\nrecipient_count=4\n\n", 2); !strings.HasPrefix(got, "250") {
		t.Errorf("a forged name: %s", got)
	}
	s.mustContain(s.must("user", "show", "alice"), "6 spent (60 %)")
	if err := s.weir.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := plainSubmit(t, s.lab, "alice", 11); !strings.HasPrefix(got, "250") {
		t.Errorf("without weir: %s", got)
	}
}
