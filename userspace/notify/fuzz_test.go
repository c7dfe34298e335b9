package notify

import (
	"strings"
	"testing"
)

// bad is what an attacker may choose to be called.
const bad = "x\r\nBcc: everybody@example.org\r\n\r\n<script>alert(1)</script>\x1b[31m\x00"

// hostile is a report whose every part an attacker chose.
func hostile(bad string) *Report {
	r := example()
	n := &r.Notices[0]
	n.User, n.Reason, n.Rule, n.Explain, n.Release = bad, bad, bad, bad, bad
	n.Sources[0].Source, n.Sources[0].Reason = bad, bad
	n.Evidence[0].Text, n.Evidence[0].Source, n.Evidence[0].Service = bad, bad, bad
	r.Host = bad
	r.Unnamed = 0
	return r
}

// FuzzMail: whatever strangers are called and logs say, a mail is well formed and
// has the fields and parts that weir gave it, and no others.
func FuzzMail(f *testing.F) {
	for _, s := range []string{bad, "alice@example.com", "=?utf-8?q?x?=", "名前 \u2028\u0085", "\xff\xfe", "{{.}}", "--boundary\r\n.\r\n", strings.Repeat("x ", 300)} {
		f.Add(s)
	}
	all := mustTemplates(f, "")
	f.Fuzz(func(t *testing.T, s string) {
		for _, language := range Languages() {
			for _, audience := range audiences {
				c, err := all.write(language, audience, hostile(s))
				if err != nil {
					t.Fatal(err)
				}
				message, err := compose(&letter{from: "weir@mail.example.com", to: []string{"postmaster@example.com"}, language: language, host: "mail.example.com", content: c})
				if err != nil {
					t.Fatal(err)
				}
				d := mustDecode(t, message)
				if len(d.header) != 9 || strings.Contains(d.html, "<script") || strings.ContainsAny(d.text, "\x1b\x00\r") {
					t.Errorf("%s %s: %v\n%q\n%q", language, audience, d.header, d.text, d.html)
				}
			}
		}
	})
}
