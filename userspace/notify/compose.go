package notify

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// content is what a letter says, in two forms.
type content struct{ subject, text, html string }

// letter is a mail to be written.
type letter struct {
	from     string
	to       []string
	language string
	host     string
	date     time.Time
	content  content
}

// compose writes l as a message (RFC 5322) of two alternatives (RFC 2046
// section 5.1.4), with lines that end in CRLF. Auto-Submitted keeps others from
// answering it (RFC 3834 section 5).
func compose(l *letter) ([]byte, error) {
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"Date", l.date.Format("Mon, 02 Jan 2006 15:04:05 -0700")},
		{"From", "weir <" + l.from + ">"},
		{"To", strings.Join(l.to, ",\r\n ")},
		{"Message-ID", "<" + strings.ToLower(rand.Text()) + "@" + l.host + ">"},
		{"Subject", subject(l.content.subject)},
		{"Auto-Submitted", "auto-generated"},
		{"Content-Language", l.language},
		{"MIME-Version", "1.0"},
		{"Content-Type", "multipart/alternative;\r\n boundary=\"" + parts.Boundary() + "\""},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	for _, p := range [][2]string{{"text/plain", l.content.text}, {"text/html", l.content.html}} {
		if err := writePart(parts, p[0], p[1]); err != nil {
			return nil, err
		}
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	b.Write(body.Bytes())
	return b.Bytes(), nil
}

// writePart writes text in an encoding whose lines are short: quoted-printable
// if most of it is ASCII, else base64 (RFC 2045 section 6).
func writePart(parts *multipart.Writer, kind, text string) error {
	text = strings.ReplaceAll(text, "\n", "\r\n")
	encoding, other := "quoted-printable", 0
	for i := range len(text) {
		if text[i] >= 0x80 {
			other++
		}
	}
	if other*6 > len(text) {
		encoding = "base64"
	}
	header := textproto.MIMEHeader{}
	header.Set("Content-Type", kind+"; charset=utf-8")
	header.Set("Content-Transfer-Encoding", encoding)
	w, err := parts.CreatePart(header)
	if err != nil {
		return err
	}
	var encoder io.WriteCloser
	if encoding == "base64" {
		encoder = base64.NewEncoder(base64.StdEncoding, &lineBreaker{to: w})
	} else {
		encoder = quotedprintable.NewWriter(w)
	}
	if _, err := io.WriteString(encoder, text); err != nil {
		return err
	}
	return encoder.Close()
}

// lineBreaker ends a line after 76 characters (RFC 2045 section 6.8).
type lineBreaker struct {
	to io.Writer
	at int
}

func (l *lineBreaker) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if l.at == 76 {
			if _, err := io.WriteString(l.to, "\r\n"); err != nil {
				return 0, err
			}
			l.at = 0
		}
		part := min(76-l.at, len(b))
		if _, err := l.to.Write(b[:part]); err != nil {
			return 0, err
		}
		l.at += part
		b = b[part:]
	}
	return n, nil
}

// maxSubject keeps a subject readable, and a name that an attacker chose short.
const maxSubject = 200

// subject encodes a subject (RFC 2047) and folds it between its words.
func subject(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	s = strings.ReplaceAll(s, "=?", "= ?") // or it could be taken for an encoded word
	if runes := []rune(s); len(runes) > maxSubject {
		s = string(runes[:maxSubject]) + "…"
	}
	encoder := mime.QEncoding
	if len([]rune(s))*2 < len(s) {
		encoder = mime.BEncoding
	}
	encoded := encoder.Encode("utf-8", s)
	if encoded == s {
		if folded, ok := fold(s); ok {
			return folded
		}
		encoded = encodedWords(s)
	}
	// A line with an encoded word has 76 characters at most (section 2), and the
	// word may have 75.
	return "\r\n " + strings.ReplaceAll(encoded, "?= =?", "?=\r\n =?")
}

// fold breaks a long line of plain words (RFC 5322 section 2.2.3), of which none
// may be longer than a line.
func fold(s string) (folded string, ok bool) {
	var b strings.Builder
	at := len("Subject: ")
	for i, word := range strings.Split(s, " ") {
		switch {
		case len(word) > 75:
			return "", false
		case at+1+len(word) > 76:
			b.WriteString("\r\n ") // before the first word, too
			at = 1
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String(), true
}

// encodedWords writes ASCII as RFC 2047 would other texts, which may be broken
// anywhere.
func encodedWords(s string) string {
	var words []string
	for part := range slices.Chunk([]byte(s), 45) {
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString(part)+"?=")
	}
	return strings.Join(words, " ")
}

// unixLines writes a message as sendmail(1) takes it.
func unixLines(message []byte) []byte { return bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")) }
