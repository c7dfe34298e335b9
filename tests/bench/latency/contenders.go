package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weir/tests/lab"
)

// rule fires at the first line.
const rule = `
[[rule]]
name = "first"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 1
within = "10m"
action = "drop"
for = "1h"
`

func startWeir(ctx context.Context, o options, l *lab.Lab) error {
	if _, err := os.Stat(o.weir); err != nil {
		return fmt.Errorf("%w: %s", errMissing, o.weir)
	}
	w, err := l.Weir(o.weir, "enforce", rule)
	if err != nil {
		return err
	}
	return w.Start(ctx)
}

// startSSHGuard runs the programs that the script sshguard joins, with its
// backend of nftables.
func startSSHGuard(ctx context.Context, o options, l *lab.Lab) error {
	dir := filepath.Join(o.peers, "usr", "libexec", "sshguard")
	if o.peers == "" || !exists(filepath.Join(dir, "sshg-parser")) {
		return fmt.Errorf("%w: run tests/setup.sh bench", errMissing)
	}
	pipeline := fmt.Sprintf("tail -F -n 0 %s | %s/sshg-parser | %s/sshg-blocker -a 10 -p 3600 -s 3600 | %s/sshg-fw-nft-sets",
		l.MailLog(), dir, dir, dir)
	if _, err := l.Start(l.Mail, "sshguard", exec.Command("sh", "-c", pipeline)); err != nil {
		return err
	}
	return tables(ctx, l, "sshguard")
}

// conf is the configuration that fail2ban is given over its own: one filter,
// and one line is enough.
//
//go:embed conf
var conf embed.FS

// startFail2ban runs the server.
func startFail2ban(ctx context.Context, o options, l *lab.Lab) error {
	server := filepath.Join(o.peers, "usr", "bin", "fail2ban-server")
	if o.peers == "" || !exists(server) {
		return fmt.Errorf("%w: run tests/setup.sh bench", errMissing)
	}
	etc := l.Path("fail2ban")
	if err := os.CopyFS(etc, os.DirFS(filepath.Join(o.peers, "etc", "fail2ban"))); err != nil {
		return err
	}
	files, err := conf.ReadDir("conf")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := conf.ReadFile("conf/" + f.Name())
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(text, []byte("LOG"), []byte(l.MailLog()))
		if err := os.WriteFile(filepath.Join(etc, f.Name()), text, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.Command("python3", server, "-f", "-c", etc, "-s", l.Path("f2b.sock"), "-p", l.Path("f2b.pid"),
		"--logtarget", l.Path("f2b.log"), "start")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(o.peers, "usr/lib/python3/dist-packages"))
	if _, err := l.Start(l.Mail, "fail2ban", cmd); err != nil {
		return err
	}
	return lab.Poll(ctx, 20*time.Second, "fail2ban to read the log", func() bool {
		text, err := os.ReadFile(l.Path("f2b.log"))
		return err == nil && strings.Contains(string(text), "'postfix' started")
	})
}

// tables waits for a table of nftables to appear on the mail host.
func tables(ctx context.Context, l *lab.Lab, name string) error {
	return lab.Poll(ctx, 10*time.Second, name+" to have its table", func() bool {
		var out []byte
		err := l.Mail.Do(func() (err error) {
			out, err = exec.Command("nft", "list", "tables").Output()
			return err
		})
		return err == nil && strings.Contains(string(out), name)
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
