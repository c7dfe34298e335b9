package e2e

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/tests/lab"
)

// mustMails returns the messages in a user's mailbox.
func (s *stage) mustMails(user string) (all []*mail.Message) {
	s.Helper()
	files, err := filepath.Glob(s.lab.Path("mail", user, "new", "*"))
	if err != nil {
		s.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			s.Fatal(err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(text))
		if err != nil {
			s.Fatalf("%s: %v", name, err)
		}
		all = append(all, m)
	}
	return all
}

// mustRead returns subject and plain text of a message that Postfix delivered.
func (s *stage) mustRead(m *mail.Message) string {
	s.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		s.Error(err)
	}
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		s.Fatal(err)
	}
	part, err := multipart.NewReader(m.Body, parameters["boundary"]).NextPart() // decodes quoted-printable
	if err != nil {
		s.Fatal(err)
	}
	text, err := io.ReadAll(part)
	if err != nil {
		s.Fatal(err)
	}
	return subject + "\n" + strings.ReplaceAll(string(text), "\r\n", "\n")
}

// A stolen account is told of once, to the administrator and to its owner, by
// mail through the host's own server: handed to sendmail, and by SMTP.
func TestNoticesArrive(t *testing.T) {
	for _, mailer := range []string{"sendmail", "smtp:127.0.0.1:25"} {
		t.Run(strings.SplitN(mailer, ":", 2)[0], func(t *testing.T) {
			s := mustStage(t, "enforce", fmt.Sprintf(`%s
[notify]
mail = ["alice@example.test"]
from = "weir@example.test"
mailer = %q
sendmail = ["/usr/sbin/sendmail", "-C", "LAB/postfix/etc"]
users = true
user_domains = ["example.test"]
wait = "2s"
`, rules, mailer))
			for n := range stolenSources + 2 {
				s.spam(n)
			}
			s.mustPoll(lab.Patience, "two mails", func() bool { return s.lab.Delivered("alice") > 0 && s.lab.Delivered("bob") > 0 })
			admin, owner := s.mustMails("alice"), s.mustMails("bob")
			if len(admin) != 1 || len(owner) != 1 {
				t.Fatalf("%d mails to the administrator, %d to the owner", len(admin), len(owner))
			}
			if from := admin[0].Header.Get("Return-Path"); from != "<weir@example.test>" {
				t.Errorf("sent by %s", from)
			}
			s.mustContain(s.mustRead(admin[0]), "bob: account guarded", "rule stolen", thief(0).String(), "weir release bob", "sources flagged")
			s.mustContain(s.mustRead(owner[0]), "Your mail account bob may be in other hands", "Change it now")
			if strings.Contains(s.lab.Output("weir"), "could not be delivered") {
				t.Error("something was not delivered")
			}
		})
	}
}
