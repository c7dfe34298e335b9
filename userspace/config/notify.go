package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Notify says who is told that a user was flagged, and how.
type Notify struct {
	Mail              []string // the administrator's addresses
	From              string   // empty: weir at the host's name
	Mailer            string   // "auto", "sendmail" or "smtp:ADDRESS:PORT"
	Sendmail          []string // program and arguments
	Users             bool     // tell users of their own accounts
	UserDomains       []string // whose users; the first is that of users without one
	Language          string   // of the administrator
	UserLanguage      string
	Templates         string // folder of texts in place of those that are shipped; empty: none
	Webhook           string
	WebhookSecretFile string
	Command           []string
	Wait              time.Duration // before a notice is sent, so that it can tell what was stopped
	Once              time.Duration // a user is told of once in that time
	Most              int           // notices an hour; more become one digest
}

// Anybody reports whether there is somebody to tell.
func (n *Notify) Anybody() bool {
	return len(n.Mail) > 0 || n.Users || n.Webhook != "" || len(n.Command) > 0
}

func defaultNotify() Notify {
	return Notify{
		Mailer: Auto, Sendmail: []string{"/usr/sbin/sendmail"}, Language: "en", UserLanguage: "en",
		Wait: 30 * time.Second, Once: 24 * time.Hour, Most: 10,
	}
}

// notify reads [notify].
func (c *Config) notify(top *section) {
	s := top.section("notify")
	if s == nil {
		return
	}
	n := &c.Notify
	for i, address := range s.texts("mail", "postmaster@example.com") {
		if address != "" && !isAddress(address) && !isListName(address) { // a name of this host's, such as root
			s.failElement("mail", i, fmt.Sprintf("holds %q, which is no mail address", address), `write such as "postmaster@example.com" or "root"`)
		}
		n.Mail = append(n.Mail, address)
	}
	if n.From = s.text("from", "weir@mail.example.com"); n.From != "" && !isAddress(n.From) {
		s.fail("from", "is "+shown(n.From), `write a mail address, such as "weir@mail.example.com"`)
	}
	s.mailer(n)
	n.Users = s.boolean("users")
	for i, domain := range s.texts("user_domains", "example.com") {
		if domain != "" && !isDomain(domain) {
			s.failElement("user_domains", i, fmt.Sprintf("holds %q, which is no domain", domain), `write such as "example.com"`)
		}
		n.UserDomains = append(n.UserDomains, domain)
	}
	if n.Users && len(n.UserDomains) == 0 && !s.broken["user_domains"] {
		s.fail("users", "is true, but no user_domains are named",
			`write whose users may be mailed to, such as user_domains = ["example.com"]: a name that somebody tried to log in by may be anybody's address`)
	}
	for _, l := range []struct {
		key  string
		into *string
	}{{"language", &n.Language}, {"user_language", &n.UserLanguage}} {
		if text := s.text(l.key, "en"); text != "" {
			if strings.ContainsAny(text, "/\\. ") {
				s.fail(l.key, "is "+shown(text), `write such as "en" or "ja"`)
			}
			*l.into = text
		}
	}
	s.absolute("templates", &n.Templates)
	s.webhook(n)
	n.Command = s.program("command", "/usr/local/sbin/user-was-flagged")
	if wait := s.duration("wait", "30s"); wait > 0 {
		n.Wait = wait
	}
	if once := s.duration("once", "24h"); once > 0 {
		n.Once = once
	}
	if most, given := s.integer("most", 1, 1000); given {
		n.Most = most
	}
	s.finish()
}

func (s *section) mailer(n *Notify) {
	if text := s.text("mailer", "smtp:127.0.0.1:25"); text != "" {
		address, smtp := strings.CutPrefix(text, "smtp:")
		_, port, err := net.SplitHostPort(address)
		if text != Auto && text != "sendmail" && (!smtp || err != nil || port == "") {
			s.fail("mailer", "is "+shown(text), `write "auto", "sendmail" or "smtp:127.0.0.1:25"`)
		}
		n.Mailer = text
	}
	if _, given := s.get("sendmail"); given {
		n.Sendmail = s.program("sendmail", "/usr/sbin/sendmail")
	}
}

// program reads a program and its arguments. No shell looks at them.
func (s *section) program(key, example string) []string {
	args := s.texts(key, example)
	if _, given := s.get(key); given && !s.broken[key] && (len(args) == 0 || !filepath.IsAbs(args[0])) {
		s.fail(key, "does not begin with a path", fmt.Sprintf("write program and arguments apart: %s = [%q, \"argument\"]", key, example))
	}
	return args
}

func (s *section) webhook(n *Notify) {
	if n.Webhook = s.text("webhook", "https://chat.example.com/hook"); n.Webhook != "" {
		u, err := url.Parse(n.Webhook)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			s.fail("webhook", "is "+shown(n.Webhook), `write such as "https://chat.example.com/hook"`)
		}
	}
	s.absolute("webhook_secret_file", &n.WebhookSecretFile)
	if n.WebhookSecretFile != "" && n.Webhook == "" && !s.broken["webhook"] {
		s.fail("webhook_secret_file", "goes with a webhook", "name one, or remove it")
	}
}

func isAddress(text string) bool {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text {
		return false
	}
	return !strings.HasPrefix(text, "-") && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
