package agent

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"weir/userspace/control"
	"weir/userspace/intake/detect"
)

// auto has the bench's agents look for logs on a host with these files.
func (b *bench) auto(files fstest.MapFS) Options {
	b.t.Helper()
	text, _, _ := strings.Cut(mustRead(b.t, b.config), "[[intake]]")
	b.write(b.config, text+"intake = \"auto\"\n")
	o := b.options()
	o.host = func() detect.Host { return detect.Host{FS: files, Now: time.Now()} }
	return o
}

func mustNames(t *testing.T, a *Agent) (names []string, s *control.Status) {
	t.Helper()
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range s.Intakes {
		names = append(names, in.Name)
	}
	slices.Sort(names)
	return names, s
}

func TestAuto(t *testing.T) {
	b := newBench(t)
	second := filepath.Join(b.dir, "dovecot.log")
	b.write(second, "")
	files := fstest.MapFS{"etc/postfix/main.cf": {Data: []byte("maillog_file = " + b.log + "\n")}}
	a, err := start(b.auto(files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(a) })
	first := []string{"file:" + b.log}
	names, s := mustNames(t, a)
	if !slices.Equal(names, first) || s.Intakes[0].Found != "Postfix: maillog_file of /etc/postfix/main.cf" {
		t.Fatalf("read are %v: %+v", names, s.Intakes)
	}
	text := mustRead(t, "testdata/mail.log")
	mustAppend(t, b.log, text)
	mustReach(t, a, lineCount(text))

	// A server that is installed later is found; that Postfix has moved is
	// news for a reload.
	files["etc/dovecot/dovecot.conf"] = &fstest.MapFile{Data: []byte("log_path = " + second + "\n")}
	a.lookAgain()
	both := []string{"file:" + second, "file:" + b.log}
	if names, _ := mustNames(t, a); !slices.Equal(names, both) {
		t.Fatalf("read are %v, want %v", names, both)
	}
	files["etc/postfix/main.cf"] = &fstest.MapFile{Data: []byte("maillog_file = /dev/stdout\n")}
	a.lookAgain()
	if names, _ := mustNames(t, a); !slices.Equal(names, both) {
		t.Fatalf("read are %v, want %v", names, both)
	}
	a.reload()
	names, s = mustNames(t, a)
	if !slices.Equal(names, both[:1]) || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "Postfix: it writes to /dev/stdout") {
		t.Fatalf("read are %v, notes %q", names, s.Notes)
	}
	var known bool
	if err := a.core.do(t.Context(), func() { _, known = a.core.positions[first[0]] }); err != nil || known {
		t.Errorf("the position in what is read elsewhere now is kept (%v)", err)
	}
	mustStop(t, a)
}

// What the configuration names is not read a second time.
func TestAutoBesides(t *testing.T) {
	b := newBench(t)
	b.extra = "[[intake]]\ntype = \"auto\"\n"
	b.configure()
	o := b.options()
	o.host = func() detect.Host {
		return detect.Host{FS: fstest.MapFS{"etc/postfix/main.cf": {Data: []byte("maillog_file = " + b.log + "\n")}}, Now: time.Now()}
	}
	a, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	if names, s := mustNames(t, a); !slices.Equal(names, []string{"file:" + b.log}) || s.Intakes[0].Found != "" {
		t.Errorf("read are %v: %+v", names, s.Intakes)
	}
	mustStop(t, a)
}
