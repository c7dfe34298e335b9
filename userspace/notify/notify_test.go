package notify

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// catcher is a Channel that remembers.
type catcher struct {
	mu      sync.Mutex
	reports []*Report
	err     error
}

func (c *catcher) Name() string { return "catcher" }

func (c *catcher) Deliver(_ context.Context, r *Report) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, r)
	return c.err
}

// told writes what was told so far: "alice | bob,carol+3".
func (c *catcher) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, r := range c.reports {
		var users []string
		for i := range r.Notices {
			users = append(users, r.Notices[i].User)
		}
		text := strings.Join(users, ",")
		if r.Unnamed > 0 {
			text += fmt.Sprintf("+%d", r.Unnamed)
		}
		all = append(all, text)
	}
	return strings.Join(all, " | ")
}

// stage runs a Notifier in a bubble.
func stage(t *testing.T, change func(*Options), play func(n *Notifier, c *catcher)) {
	synctest.Test(t, func(t *testing.T) {
		c := &catcher{}
		o := DefaultOptions()
		o.Channels, o.Host, o.Logger = []Channel{c}, "mail.example.com", slog.New(slog.DiscardHandler)
		o.Describe = func(_ context.Context, user string) (Notice, bool) {
			return Notice{User: user, Action: "guard"}, user != "released"
		}
		if change != nil {
			change(&o)
		}
		n, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Run(ctx) }()
		play(n, c)
		stop()
		<-done
	})
}

func wait(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// One attack gives one notice, when there is something to tell; a user is told
// of once in a while, and one who was released meanwhile is not.
func TestOneNotice(t *testing.T) {
	stage(t, nil, func(n *Notifier, c *catcher) {
		for range 1000 {
			n.Flagged("alice")
		}
		n.Flagged("released")
		wait(20 * time.Second)
		if c.told() != "" {
			t.Errorf("told at once of %s", c.told())
		}
		wait(20 * time.Second)
		if c.told() != "alice" {
			t.Errorf("told of %q", c.told())
		}
		n.Flagged("alice")
		wait(23 * time.Hour)
		if c.told() != "alice" {
			t.Errorf("told of %q within a day", c.told())
		}
		wait(2 * time.Hour)
		n.Flagged("alice")
		wait(time.Minute)
		if c.told() != "alice | alice" {
			t.Errorf("told of %q after a day", c.told())
		}
		if s := n.Stats(); s.Flagged != 1003 || s.Reports != 2 || s.Repeated != 1 {
			t.Errorf("counted %+v", s)
		}
	})
}

// A storm becomes a digest.
func TestDigest(t *testing.T) {
	stage(t, func(o *Options) { o.Most = 3 }, func(n *Notifier, c *catcher) {
		for i := range 100 {
			n.Flagged(fmt.Sprintf("user%02d", i))
		}
		wait(time.Minute)
		if got := c.told(); got != "user00 | user01 | user02" {
			t.Errorf("at first: %s", got)
		}
		n.Flagged("later")
		wait(time.Hour)
		got := c.told()
		digest := strings.Split(got, " | ")
		if len(digest) != 4 || !strings.HasPrefix(digest[3], "user03,user04,") || !strings.HasSuffix(digest[3], "+48") || strings.Count(digest[3], ",") != maxDigest-1 {
			t.Errorf("after an hour: %s", got)
		}
		wait(2 * time.Hour)
		n.Flagged("quiet again")
		wait(time.Minute)
		if got := c.told(); !strings.HasSuffix(got, " | quiet again") {
			t.Errorf("at last: %s", got)
		}
	})
}

// What waits is bounded, whoever makes the names up.
func TestBounds(t *testing.T) {
	stage(t, nil, func(n *Notifier, c *catcher) {
		for i := range 3 * maxWaiting {
			n.Flagged(fmt.Sprint("user", i))
		}
		if len(n.waiting) != maxWaiting || n.unnamed != 2*maxWaiting {
			t.Errorf("%d wait, %d have no name", len(n.waiting), n.unnamed)
		}
		wait(3 * time.Hour)
		if s := n.Stats(); s.Reports != 11 || !strings.Contains(c.told(), fmt.Sprintf("+%d", 3*maxWaiting-10-maxDigest)) {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestUndelivered(t *testing.T) {
	stage(t, nil, func(n *Notifier, c *catcher) {
		c.err = errors.New("nobody is there")
		n.Flagged("alice")
		wait(time.Minute)
		if n.Stats().Undelivered != 1 {
			t.Errorf("counted %+v", n.Stats())
		}
	})
}

// mustTemplates loads what is shipped.
func mustTemplates(t testing.TB, dir string) *Templates {
	t.Helper()
	all, err := LoadTemplates(dir, Languages()...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// decoded is a message as its reader's program sees it.
type decoded struct {
	header     mail.Header
	text, html string
}

// mustDecode reads a message with the standard library, and holds its form
// against RFC 5322.
func mustDecode(t testing.TB, message []byte) decoded {
	t.Helper()
	for line := range strings.SplitSeq(string(message), "\r\n") {
		if len(line) > 78 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line of %d bytes: %q", len(line), line)
		}
		for i := range len(line) {
			if line[i] >= 0x80 || line[i] < ' ' && line[i] != '\t' {
				t.Errorf("byte %#x in %q", line[i], line)
				break
			}
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(string(message)))
	if err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v", kind, err)
	}
	d := decoded{header: m.Header}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for _, into := range []*string{&d.text, &d.html} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		var reader io.Reader = part
		switch encoding := part.Header.Get("Content-Transfer-Encoding"); encoding {
		case "base64":
			reader = base64.NewDecoder(base64.StdEncoding, part)
		case "quoted-printable":
			reader = quotedprintable.NewReader(part)
		default:
			t.Fatalf("encoding %q", encoding)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		*into = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		t.Errorf("a third part: %v", err)
	}
	return d
}

func mustCompose(t testing.TB, language, audience string, r *Report) decoded {
	t.Helper()
	c, err := mustTemplates(t, "").write(language, audience, r)
	if err != nil {
		t.Fatal(err)
	}
	message, err := compose(&letter{
		from: "weir@mail.example.com", to: []string{"postmaster@example.com", "second@example.com"},
		language: language, host: "mail.example.com", date: r.Time, content: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	return mustDecode(t, message)
}

// Every mail that is shipped, as its reader sees it.
func TestMails(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	defer func() { time.Local = local }()
	for _, language := range Languages() {
		for _, audience := range audiences {
			for name, r := range map[string]*Report{"one": example(), "observe": example(), "digest": example()} {
				switch name {
				case "one":
					r.Unnamed = 0
				case "observe":
					r.Mode, r.Unnamed = "observe", 0
				case "digest":
					if audience == "user" {
						continue
					}
					second := r.Notices[0]
					second.User, second.Action, second.Sources, second.Evidence, second.Stopped = "bob", "defer", nil, nil, Stopped{}
					r.Notices = append(r.Notices, second)
				}
				d := mustCompose(t, language, audience, r)
				said, err := new(mime.WordDecoder).DecodeHeader(d.header.Get("Subject"))
				if err != nil {
					t.Error(err)
				}
				got := "Subject: " + said + "\n\n" + d.text + "\n---- html ----\n" + d.html
				golden := filepath.Join("testdata", language+"-"+audience+"-"+name+".golden")
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s differs:\n%s", golden, got)
				}
				if d.header.Get("Auto-Submitted") != "auto-generated" || d.header.Get("Content-Language") != language || d.header.Get("Message-Id") == "" {
					t.Errorf("header %v", d.header)
				}
				if to, err := d.header.AddressList("To"); err != nil || len(to) != 2 {
					t.Errorf("to %v, %v", to, err)
				}
				if _, err := d.header.Date(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// What attackers choose stays text.
func TestHostileMails(t *testing.T) {
	for _, language := range Languages() {
		for _, audience := range audiences {
			d := mustCompose(t, language, audience, hostile(bad))
			if d.header.Get("Bcc") != "" || strings.Contains(d.html, "<script>") || strings.ContainsAny(d.text, "\x1b\x00") || strings.Contains(d.text, "\nBcc:") {
				t.Errorf("%s %s: %v\n%s\n%s", language, audience, d.header, d.text, d.html)
			}
		}
	}
}

func TestSubjects(t *testing.T) {
	for _, s := range []string{
		"plain", strings.Repeat("long words ", 15) + "end", "日本語の長い件名です。" + strings.Repeat("アカウントを保護しました", 5),
		"héllo", "= ?utf-8?q?x?=", strings.Repeat("x", 150),
	} {
		var decoder mime.WordDecoder
		raw := "Subject: " + subject(s) + "\r\n\r\n"
		m, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decoder.DecodeHeader(m.Header.Get("Subject"))
		if err != nil || got != s {
			t.Errorf("%q comes as %q, %v", s, got, err)
		}
		for line := range strings.SplitSeq(raw, "\r\n") {
			if len(line) > 78 {
				t.Errorf("line %q", line)
			}
		}
	}
}

func TestTemplatesOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "en"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "en", "user.txt")
	if err := os.WriteFile(path, []byte("Ours\nHello {{(index .Notices 0).User}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := mustTemplates(t, dir).write("en", "user", example())
	if err != nil || c.subject != "Ours" || c.text != "Hello alice@example.com\n" || !strings.Contains(c.html, "<html") {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{"x\n{{.Nothing}}": "Nothing", "x\n{{": "user.txt:2"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTemplates(dir, "en"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := LoadTemplates("", "tlh"); err == nil || !strings.Contains(err.Error(), "shipped are en and ja") {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	m := &Mail{Domains: []string{"example.com", "example.org"}}
	for user, want := range map[string]string{
		"alice": "alice@example.com", "bob@example.org": "bob@example.org", "bob@EXAMPLE.org": "bob@EXAMPLE.org",
		"eve@elsewhere.test": "", "a b": "", "a\nb": "", "-oQ/tmp": "", "<x>": "", "": "", "a@b@example.com": "", "é": "", "x,y": "",
	} {
		got, ok := m.address(user)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %t, want %q", user, got, ok, want)
		}
	}
}
