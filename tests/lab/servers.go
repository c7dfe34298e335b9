package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed conf
var conf embed.FS

// MailLog is the file that both servers write to, and weir reads.
func (l *Lab) MailLog() string { return l.Path("log", "mail.log") }

// makeLog makes an empty log in place of one that servers write, on a file
// system in memory: a disk at times makes those wait who write to it.
func (l *Lab) makeLog(context.Context) error {
	dir := filepath.Dir(l.MailLog())
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make folder of the log: %w", err)
	}
	if err := unix.Mount("weir-lab", dir, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	l.defer_("unmount "+dir, func() error { return unix.Unmount(dir, unix.MNT_DETACH) })
	return os.WriteFile(l.MailLog(), nil, 0o644)
}

// startServers starts Dovecot and Postfix in the foreground and waits until
// both answer.
func (l *Lab) startServers(ctx context.Context) error {
	if err := l.makeDirs(); err != nil {
		return err
	}
	if err := l.writeUsers(); err != nil {
		return err
	}
	for name, dir := range map[string]string{
		"dovecot.conf": l.Path("dovecot"),
		"main.cf":      l.Path("postfix", "etc"),
		"master.cf":    l.Path("postfix", "etc"),
	} {
		if err := l.writeConf(name, dir); err != nil {
			return err
		}
	}
	dovecot, err := l.Start(l.Mail, "dovecot", exec.Command("dovecot", "-F", "-c", l.Path("dovecot", "dovecot.conf")))
	if err != nil {
		return err
	}
	postfix, err := l.Start(l.Mail, "postfix", exec.Command("postfix", "-c", l.Path("postfix", "etc"), "start-fg"))
	if err != nil {
		return err
	}
	// Postfix last: it asks Dovecot about logins from its first client on.
	if err := l.awaitPort(ctx, dovecot, 993); err != nil {
		return err
	}
	return l.awaitPort(ctx, postfix, 587)
}

// writeUsers tells Dovecot who may log in, and Postfix whom it delivers to.
func (l *Lab) writeUsers() error {
	var users, mailboxes strings.Builder
	for _, u := range l.options.Users {
		fmt.Fprintf(&users, "%s:{PLAIN}%s\n", u, Password)
		fmt.Fprintf(&mailboxes, "%s@%s %s\n", u, Domain, u)
	}
	if err := os.WriteFile(l.Path("dovecot", "users"), []byte(users.String()), 0o644); err != nil {
		return fmt.Errorf("write mailbox users: %w", err)
	}
	if err := os.WriteFile(l.Path("postfix", "mailboxes"), []byte(mailboxes.String()), 0o644); err != nil {
		return fmt.Errorf("write mailbox list: %w", err)
	}
	return nil
}

// awaitPort waits until the server takes a connection from the world; an
// error tells what it wrote meanwhile.
func (l *Lab) awaitPort(ctx context.Context, server *Process, port uint16) error {
	answers := func() bool {
		select {
		case <-server.Exited():
			return true
		default:
		}
		conn, err := l.Dial(ctx, router4, port)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	err := Poll(ctx, Patience, server.Name+" to answer", answers)
	select {
	case <-server.Exited():
		err = fmt.Errorf("%s ended with status %d", server.Name, server.ExitCode())
	default:
	}
	if err != nil {
		text, _ := os.ReadFile(l.MailLog())
		return fmt.Errorf("start %s: %w\n%s%s", server.Name, err, l.Output(server.Name), text)
	}
	return nil
}

// makeDirs makes the servers' directories with the owners and modes they
// insist on. Postfix would make those of its queue itself, in two seconds of
// shell scripts; a file named quick-start tells it not to.
func (l *Lab) makeDirs() error {
	type dir struct {
		path, owner, group string
		mode               fs.FileMode
	}
	dirs := []dir{
		{"log", "root", "root", 0o755},
		{"mail", "mail", "mail", 0o755},
		{"dovecot", "root", "root", 0o755},
		{"dovecot/run", "root", "root", 0o755},
		{"dovecot/state", "root", "root", 0o755},
		{"postfix", "root", "root", 0o755},
		{"postfix/etc", "root", "root", 0o755},
		{"postfix/data", "postfix", "root", 0o700},
		{"postfix/queue", "root", "root", 0o755},
		{"postfix/queue/pid", "root", "root", 0o755},
		{"postfix/queue/public", "postfix", "postdrop", 0o710},
		{"postfix/queue/maildrop", "postfix", "postdrop", 0o730},
	}
	for _, name := range strings.Fields("active bounce corrupt defer deferred flush hold incoming private saved trace") {
		dirs = append(dirs, dir{"postfix/queue/" + name, "postfix", "root", 0o700})
	}
	for _, d := range dirs {
		path := l.Path(d.path)
		if err := os.Mkdir(path, d.mode); err != nil {
			return fmt.Errorf("make server directory: %w", err)
		}
		if err := os.Chmod(path, d.mode); err != nil { // whatever the umask is
			return fmt.Errorf("make server directory: %w", err)
		}
		if err := giveTo(path, d.owner, d.group); err != nil {
			return fmt.Errorf("give %s to %s:%s: %w", path, d.owner, d.group, err)
		}
	}
	return os.WriteFile(l.Path("postfix", "queue", "quick-start"), nil, 0o644)
}

func giveTo(path, owner, group string) error {
	u, err := user.Lookup(owner)
	if err != nil {
		return err
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, gid)
}

// writeConf fills the template name and writes it into dir.
func (l *Lab) writeConf(name, dir string) error {
	t, err := template.ParseFS(conf, "conf/"+name)
	if err != nil {
		return fmt.Errorf("read template %s: %w", name, err)
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer f.Close()
	values := map[string]string{"Dir": l.Dir, "Host": Host, "Domain": Domain, "Elsewhere": Elsewhere, "Chroot": "n"}
	if l.options.Chroot {
		values["Chroot"] = "y"
	}
	if err := t.Execute(f, values); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if more := l.options.mainCF(l); name == "main.cf" && more != "" {
		if _, err := io.WriteString(f, "\n"+more); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if name == "dovecot.conf" {
		if _, err := f.WriteString("\n" + strings.ReplaceAll(l.options.Dovecot, "DIR", l.Dir) + "\n"); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return f.Close()
}

// makeCertificate writes a self-signed certificate for Host and its key.
func (l *Lab) makeCertificate(context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	now := time.Now()
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: Host},
		DNSNames:     []string{Host},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
	certDER, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if err := os.Mkdir(l.Path("tls"), 0o755); err != nil {
		return fmt.Errorf("make certificate directory: %w", err)
	}
	for _, file := range []struct {
		name, kind string
		der        []byte
	}{
		{"cert.pem", "CERTIFICATE", certDER},
		{"key.pem", "PRIVATE KEY", keyDER},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.der})
		if err := os.WriteFile(l.Path("tls", file.name), text, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", file.name, err)
		}
	}
	return nil
}
