package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Debian 12 has Dovecot 2.3. The packages of 2.4, of Debian 13, are unpacked
// into a folder with all that they need (tests/setup.sh dovecot24), and run
// there.

// dovecot24 returns that folder.
func dovecot24() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(filepath.Join(root, "tests", "setup.sh"), "dovecot24").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("%w: Dovecot 2.4 cannot be had: %w", ErrUnavailable, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// StartDovecot24 starts Dovecot 2.4 on the mail host of a bare lab, with more
// of its configuration, and waits until port 143 answers.
func (l *Lab) StartDovecot24(ctx context.Context, users []string, more string) error {
	root, err := dovecot24()
	if err != nil {
		return err
	}
	for _, dir := range []string{"dovecot24", "dovecot24/run", "dovecot24/state", "mail24"} {
		if err := os.Mkdir(l.Path(dir), 0o755); err != nil {
			return fmt.Errorf("make folder of Dovecot 2.4: %w", err)
		}
	}
	mail, err := user.Lookup("mail")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(mail.Uid)
	if err != nil {
		return err
	}
	if err := os.Chown(l.Path("mail24"), uid, -1); err != nil {
		return err
	}
	var list strings.Builder
	for _, u := range users {
		fmt.Fprintf(&list, "%s:{PLAIN}%s\n", u, Password)
	}
	text, err := conf.ReadFile("conf/dovecot24.conf")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"users": list.String(), "dovecot.conf": string(text) + "\n" + more + "\n"} {
		if err := os.WriteFile(l.Path("dovecot24", name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("configure Dovecot 2.4: %w", err)
		}
	}
	// In a mount namespace, so that the mounts go with the process.
	const script = `mount --bind /dev "$0/dev" && mount --bind "$1" "$0/mnt" && exec chroot "$0" /usr/sbin/dovecot -F -c /mnt/dovecot24/dovecot.conf`
	p, err := l.Start(l.Mail, "dovecot24", exec.Command("unshare", "-m", "sh", "-c", script, root, l.Dir))
	if err != nil {
		return err
	}
	return l.awaitPort(ctx, p, 143)
}
