package lab

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"time"
)

// ErrRefused is in the chain of a client's error when the server answered,
// and said no.
var ErrRefused = errors.New("refused by the server")

// Dial connects from an address of the world to a port of the mail host,
// over IPv4 or IPv6 as the address has it. Without a deadline in ctx it
// gives up after 3 s.
func (l *Lab) Dial(ctx context.Context, from netip.Addr, port uint16) (net.Conn, error) {
	to := Mail4
	if from.Is6() {
		to = Mail6
	}
	dialer := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		Timeout:   3 * time.Second,
	}
	if _, bounded := ctx.Deadline(); bounded {
		dialer.Timeout = 0
	}
	var conn net.Conn
	err := l.World.Do(func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(to, port).String())
		return err
	})
	return conn, err
}

// Patience bounds every wait for what is sure to come: a server's answer, its
// end, what weir does. It is long because the machine may be busy.
const Patience = 30 * time.Second

func withTLS(conn net.Conn) *tls.Conn {
	// The lab's certificate signs itself and lives for one run.
	return tls.Client(conn, &tls.Config{ServerName: Host, InsecureSkipVerify: true})
}

// SMTP is a dialogue with Postfix.
type SMTP struct {
	conn net.Conn
	text *textproto.Conn
}

// Submission opens a dialogue on port 587 (RFC 6409) as far as EHLO under
// TLS; port 465 has TLS from the start (RFC 8314).
func (l *Lab) Submission(ctx context.Context, from netip.Addr, port uint16) (*SMTP, error) {
	conn, err := l.Dial(ctx, from, port)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	if port == 465 {
		conn = withTLS(conn)
	}
	s := &SMTP{conn: conn, text: textproto.NewConn(conn)}
	if err := s.greet(port); err != nil {
		s.Close()
		return nil, fmt.Errorf("open submission from %s: %w", from, err)
	}
	return s, nil
}

func (s *SMTP) greet(port uint16) error {
	if _, _, err := s.text.ReadResponse(220); err != nil {
		return err
	}
	if err := s.Command(250, "EHLO client.example.test"); err != nil {
		return err
	}
	if port != 587 {
		return nil
	}
	if err := s.Command(220, "STARTTLS"); err != nil {
		return err
	}
	s.conn = withTLS(s.conn)
	s.text = textproto.NewConn(s.conn)
	return s.Command(250, "EHLO client.example.test")
}

// Command sends a line and wants the reply code; another code wraps
// ErrRefused.
func (s *SMTP) Command(code int, format string, args ...any) error {
	if err := s.text.PrintfLine(format, args...); err != nil {
		return err
	}
	_, _, err := s.text.ReadResponse(code)
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// Auth logs in (RFC 4954, PLAIN). Wrong credentials wrap ErrRefused, and the
// dialogue can go on.
func (s *SMTP) Auth(user, password string) error {
	token := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	return s.Command(235, "AUTH PLAIN %s", token)
}

// Send submits one message.
func (s *SMTP) Send(from string, to []string, subject, body string) error {
	if err := s.Command(250, "MAIL FROM:<%s>", from); err != nil {
		return err
	}
	for _, rcpt := range to {
		if err := s.Command(250, "RCPT TO:<%s>", rcpt); err != nil {
			return err
		}
	}
	return s.data(from, to[0], subject, body)
}

// SendToSome is Send that goes on with those recipients that are not refused,
// as programs that send in bulk do. It fails if all are.
func (s *SMTP) SendToSome(from string, to []string, subject, body string) error {
	if err := s.Command(250, "MAIL FROM:<%s>", from); err != nil {
		return err
	}
	var refused error
	accepted := 0
	for _, rcpt := range to {
		switch err := s.Command(250, "RCPT TO:<%s>", rcpt); {
		case errors.Is(err, ErrRefused):
			refused = err
		case err != nil:
			return err
		default:
			accepted++
		}
	}
	if accepted == 0 {
		return refused
	}
	return s.data(from, to[0], subject, body)
}

// data sends the message to the recipients that were named.
func (s *SMTP) data(from, to, subject, body string) error {
	if err := s.Command(354, "DATA"); err != nil {
		return err
	}
	w := s.text.DotWriter()
	fmt.Fprintf(w, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\n%s\r\n", from, to, subject, body)
	if err := w.Close(); err != nil {
		return err
	}
	_, _, err := s.text.ReadResponse(250)
	return err
}

// Alive reports whether the server still serves the dialogue.
func (s *SMTP) Alive() bool { return s.Command(250, "NOOP") == nil }

// Close ends the dialogue without ceremony.
func (s *SMTP) Close() error { return s.conn.Close() }

// Quit ends the dialogue politely.
func (s *SMTP) Quit() error {
	return errors.Join(s.Command(221, "QUIT"), s.conn.Close())
}

// Submit logs in on port 587 and sends one message.
func (l *Lab) Submit(ctx context.Context, from netip.Addr, user, sender string, to []string, subject string) error {
	s, err := l.Submission(ctx, from, 587)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Auth(user, Password); err != nil {
		return fmt.Errorf("log in as %s: %w", user, err)
	}
	if err := s.Send(sender, to, subject, "Mail goes on."); err != nil {
		return fmt.Errorf("send as %s: %w", user, err)
	}
	return s.Quit()
}
