package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"time"
)

// IMAP is a dialogue with Dovecot (RFC 9051).
type IMAP struct {
	text *textproto.Conn
}

// OpenIMAP opens a dialogue on port 993.
func (l *Lab) OpenIMAP(ctx context.Context, from netip.Addr) (*IMAP, error) {
	conn, err := l.Dial(ctx, from, 993)
	if err != nil {
		return nil, err
	}
	return openIMAP(withTLS(conn), from)
}

// OpenPlainIMAP opens a dialogue on port 143, without TLS.
func (l *Lab) OpenPlainIMAP(ctx context.Context, from netip.Addr) (*IMAP, error) {
	conn, err := l.Dial(ctx, from, 143)
	if err != nil {
		return nil, err
	}
	return openIMAP(conn, from)
}

func openIMAP(conn net.Conn, from netip.Addr) (*IMAP, error) {
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	i := &IMAP{text: textproto.NewConn(conn)}
	greeting, err := i.text.ReadLine()
	if err == nil && !strings.HasPrefix(greeting, "* OK") {
		err = fmt.Errorf("%w: %s", ErrRefused, greeting)
	}
	if err != nil {
		i.Close()
		return nil, fmt.Errorf("open IMAP from %s: %w", from, err)
	}
	return i, nil
}

// Command sends one command and returns its untagged answers; NO and BAD
// wrap ErrRefused.
func (i *IMAP) Command(format string, args ...any) ([]string, error) {
	if err := i.text.PrintfLine("a "+format, args...); err != nil {
		return nil, err
	}
	var answers []string
	for {
		line, err := i.text.ReadLine()
		if err != nil {
			return answers, err
		}
		switch {
		case strings.HasPrefix(line, "a OK"):
			return answers, nil
		case strings.HasPrefix(line, "a "):
			return answers, fmt.Errorf("%w: %s", ErrRefused, line)
		}
		answers = append(answers, line)
	}
}

// Login logs in; wrong credentials wrap ErrRefused.
func (i *IMAP) Login(user, password string) error {
	_, err := i.Command("LOGIN %q %q", user, password)
	return err
}

// Close ends the dialogue without ceremony.
func (i *IMAP) Close() error { return i.text.Close() }

// Subjects logs in from an address and reads the subjects of all messages in
// the user's inbox.
func (l *Lab) Subjects(ctx context.Context, from netip.Addr, user string) ([]string, error) {
	i, err := l.OpenIMAP(ctx, from)
	if err != nil {
		return nil, err
	}
	defer i.Close()
	if err := i.Login(user, Password); err != nil {
		return nil, err
	}
	selected, err := i.Command("SELECT INBOX")
	if err != nil {
		return nil, err
	}
	for _, line := range selected {
		if line == "* 0 EXISTS" {
			return nil, nil
		}
	}
	answers, err := i.Command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
	if err != nil {
		return nil, err
	}
	var subjects []string
	for _, line := range answers {
		if subject, found := strings.CutPrefix(line, "Subject: "); found {
			subjects = append(subjects, subject)
		}
	}
	return subjects, nil
}

// Delivered counts the messages in a user's mailbox on disk.
func (l *Lab) Delivered(user string) int {
	n := 0
	for _, box := range []string{"new", "cur"} {
		entries, err := os.ReadDir(l.Path("mail", user, box))
		if err == nil {
			n += len(entries)
		}
	}
	return n
}
