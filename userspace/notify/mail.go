package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"slices"
	"strings"
	"time"
)

// Mail tells the administrator, and users of their own accounts.
type Mail struct {
	From         string   // address
	To           []string // the administrator's addresses; may be empty
	Users        bool     // tell users as well
	Domains      []string // whose users are told; the first is that of users without one
	Templates    *Templates
	Language     string // of the administrator
	UserLanguage string
	Host         string
	Sendmail     []string // program and arguments; empty: by SMTP
	SMTP         string   // address and port
	Now          func() time.Time
}

const mailTime = time.Minute

// Name implements Channel.
func (m *Mail) Name() string { return "mail" }

// Deliver implements Channel.
func (m *Mail) Deliver(ctx context.Context, r *Report) error {
	var errs []error
	if len(m.To) > 0 {
		errs = append(errs, m.send(ctx, m.To, m.Language, "admin", r))
	}
	if !m.Users {
		return errors.Join(errs...)
	}
	for i := range r.Notices {
		address, ok := m.address(r.Notices[i].User)
		if !ok {
			continue
		}
		one := *r
		one.Notices, one.Unnamed = r.Notices[i:i+1], 0
		if err := m.send(ctx, []string{address}, m.UserLanguage, "user", &one); err != nil {
			errs = append(errs, fmt.Errorf("to %s: %w", address, err))
		}
	}
	return errors.Join(errs...)
}

// address returns where a user reads mail. Only the configured domains are
// mailed to: the name of a login that failed may be anybody's address.
func (m *Mail) address(user string) (string, bool) {
	local, domain, found := strings.Cut(user, "@")
	if !found && len(m.Domains) > 0 {
		domain = m.Domains[0]
	}
	address := local + "@" + domain
	known := slices.ContainsFunc(m.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
	parsed, err := mail.ParseAddress(address)
	return address, known && err == nil && parsed.Address == address && plain(address)
}

// plain reports whether an address can stand in any envelope.
func plain(address string) bool {
	return !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>()[]\,;:"`, r) }) &&
		!strings.HasPrefix(address, "-")
}

func (m *Mail) send(ctx context.Context, to []string, language, audience string, r *Report) error {
	parts, err := m.Templates.write(language, audience, r)
	if err != nil {
		return err
	}
	message, err := compose(&letter{
		from: m.From, to: to, language: language, host: m.Host, date: m.Now(), content: parts,
	})
	if err != nil {
		return err
	}
	if len(m.Sendmail) > 0 {
		args := append(slices.Clone(m.Sendmail), "-i", "-f", m.From, "--")
		env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}
		return run(ctx, mailTime, append(args, to...), env, unixLines(message))
	}
	return m.submit(ctx, to, message)
}

// submit speaks SMTP (RFC 5321) to the mail server of the host.
func (m *Mail) submit(ctx context.Context, to []string, message []byte) (err error) {
	ctx, done := context.WithTimeout(ctx, mailTime)
	defer done()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", m.SMTP)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return errors.Join(err, conn.Close())
	}
	host, _, _ := net.SplitHostPort(m.SMTP)
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer client.Close()
	if err := client.Hello(m.Host); err != nil {
		return err
	}
	if err := client.Mail(m.From); err != nil {
		return err
	}
	for _, address := range to {
		if err := client.Rcpt(address); err != nil {
			return fmt.Errorf("recipient %s: %w", address, err)
		}
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return client.Quit()
}
