package detect

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"weir/userspace/mailconf"
)

var update = flag.Bool("update", false, "write golden files anew")

// now is when the hosts of testdata are looked at.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// header begins a part of a host: a file with its age in days, what a command
// prints, an input that is given, or what is to be found.
var header = regexp.MustCompile(`^-- (file|forbidden|command|given|found)(?: (.+?))?(?: \((\d+) days old\))? --\n$`)

// forbidding is a file system with files that may not be opened.
type forbidding struct {
	fstest.MapFS
	names map[string]bool
}

func (f forbidding) Open(name string) (fs.File, error) {
	if f.names[name] {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.MapFS.Open(name)
}

// mustHost reads a host: comments, then its parts. The text before what is
// found comes back too.
func mustHost(t *testing.T, text string) (h Host, given []Given, want, before string) {
	t.Helper()
	tree := forbidding{make(fstest.MapFS), make(map[string]bool)}
	commands := make(map[string]string)
	content := func(string) {}
	for line := range strings.Lines(text) {
		m := header.FindStringSubmatch(line)
		if m == nil {
			content(line)
			if want == "" {
				before += line
			}
			continue
		}
		kind, name, days := m[1], m[2], m[3]
		switch kind {
		case "file", "forbidden":
			age, _ := strconv.Atoi(days)
			file := &fstest.MapFile{Mode: 0o644, ModTime: now.Add(-time.Hour - time.Duration(age)*24*time.Hour)}
			if strings.HasSuffix(name, "/") {
				file.Mode |= fs.ModeDir
			}
			tree.MapFS[mailconf.Rel(name)] = file
			tree.names[mailconf.Rel(name)] = kind == "forbidden"
			content = func(line string) { file.Data = append(file.Data, line...) }
		case "command":
			content = func(line string) { commands[name] += line }
		case "given":
			kind, path, _ := strings.Cut(name, " ")
			given = append(given, Given{Type: kind, Path: path, Own: true})
		case "found":
			content = func(line string) { want += line }
			before += line
			continue
		}
		before += line
	}
	h = Host{FS: tree, Now: now, Run: func(name string, args ...string) (string, error) {
		out, known := commands[name+" "+strings.Join(args, " ")]
		if !known {
			return "", errors.New("no such command")
		}
		return out, nil
	}}
	return h, given, want, before
}

func describe(f *Found) string {
	var b strings.Builder
	for _, in := range f.Inputs {
		fmt.Fprintf(&b, "%s %s%s\n  of %s\n  because %s\n", in.Type, in.Path, strings.Join(in.Units, " "), strings.Join(in.Servers, ", "), in.Why)
	}
	for _, n := range f.Notes {
		fmt.Fprintf(&b, "note %s: %s\n", n.Server, n.Text)
	}
	return b.String()
}

func TestFind(t *testing.T) {
	hosts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(hosts) == 0 {
		t.Fatalf("no hosts: %v", err)
	}
	for _, path := range hosts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			h, given, want, before := mustHost(t, string(text))
			got := describe(Find(h, given))
			if *update {
				if err := os.WriteFile(path, []byte(before+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// Whatever a host is like, no file is read twice, and each input says why.
func TestFindThisHost(t *testing.T) {
	found := Find(ThisHost(), nil)
	seen := make(map[string]bool)
	for _, in := range found.Inputs {
		if key := in.Type + in.Path; seen[key] || in.Why == "" || len(in.Servers) == 0 || (in.Type == File) != (in.Path != "") {
			t.Errorf("found %+v", in)
		} else {
			seen[key] = true
		}
	}
	if len(found.Inputs)+len(found.Notes) == 0 {
		t.Error("nothing was found, and nothing is said of it")
	}
}

func TestSelects(t *testing.T) {
	for _, tt := range []struct {
		selector, facility   string
		named, all, selected bool
	}{
		{"mail.*", "mail", true, true, true},
		{"mail.info", "mail", true, false, true},
		{"mail.warn", "mail", false, false, false},
		{"mail.=info", "mail", true, false, true},
		{"*.*;auth,authpriv.none", "mail", false, true, true},
		{"*.*;auth,authpriv.none", "auth", false, false, false},
		{"*.info;mail.none;authpriv.none;cron.none", "mail", false, false, false},
		{"auth,authpriv.*", "auth", true, true, true},
		{"*.emerg", "mail", false, false, false},
		{"$ModLoad", "mail", false, false, false},
	} {
		named, all, selected := selects(tt.selector, tt.facility)
		if named != tt.named || all != tt.all || selected != tt.selected {
			t.Errorf("%s for %s: %t, %t, %t", tt.selector, tt.facility, named, all, selected)
		}
	}
}

func TestTarget(t *testing.T) {
	for action, want := range map[string]string{
		"-/var/log/mail.log": "/var/log/mail.log", "/var/log/mail.log;RSYSLOG_FileFormat": "/var/log/mail.log",
		`action(type="omfile" file="/var/log/maillog" sync="off")`: "/var/log/maillog",
		`action(type="omfwd" target="192.0.2.1")`:                  "",
		":omusrmsg:*": "", "@@192.0.2.1": "", "|/dev/xconsole": "", "/dev/console": "", "~": "", "": "",
	} {
		if got := target(action); got != want {
			t.Errorf("%s: %q, want %q", action, got, want)
		}
	}
}

// FuzzFind has every server's configuration hold anything at all.
func FuzzFind(f *testing.F) {
	hosts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range hosts {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("!include *\ninclude *;\nlog_file_path = %D:\n maillog_file = $x\nmail { { } } ; error_log\n*.* /var/log/mail.log\n")
	f.Fuzz(func(t *testing.T, text string) {
		tree := fstest.MapFS{
			"usr/sbin/exim": {}, "usr/sbin/rsyslogd": {}, "usr/bin/journalctl": {}, "run/systemd/journal/socket": {},
			"var/log/mail.log": {Data: []byte(text), ModTime: now},
		}
		for _, name := range []string{"etc/postfix/main.cf", "etc/dovecot/dovecot.conf", "etc/exim/exim.conf", "etc/nginx/nginx.conf", "etc/rsyslog.conf"} {
			tree[name] = &fstest.MapFile{Data: []byte(text)}
		}
		found := Find(Host{FS: tree, Now: now}, nil)
		for _, in := range found.Inputs {
			if len(in.Servers) == 0 || in.Why == "" || in.Type == File && !strings.HasPrefix(in.Path, "/") {
				t.Errorf("found %+v", in)
			}
		}
	})
}
