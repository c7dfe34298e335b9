package policy

import (
	"fmt"
	"net/netip"
	"time"
)

// Kind says what an event observed.
type Kind uint8

const (
	AuthFailure      Kind = iota + 1 // a login attempt was refused for its credentials
	AuthSuccess                      // a login attempt succeeded
	Message                          // a message was accepted, with its recipients
	UnknownRecipient                 // a recipient was refused because it does not exist
	Connection                       // a client connected
	Content                          // a message that a user submitted was found to be spam or to carry a virus
	Listed                           // a DNS list names the source of a login
)

var kindNames = [...]string{
	AuthFailure:      "auth_failure",
	AuthSuccess:      "auth_success",
	Message:          "message",
	UnknownRecipient: "unknown_recipient",
	Connection:       "connection",
	Content:          "content",
	Listed:           "listed",
}

// String returns the name used in configuration, replay output and metrics.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText writes the name of k.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a name as String writes it.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name != "" && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown event kind %q (known: auth_failure, auth_success, message, unknown_recipient, connection, content, listed)", text)
}

// Event is one normalised observation. One login attempt is one event, even
// where several log lines tell of it.
type Event struct {
	Time       time.Time  // when the server wrote the record; never the reader's clock
	Kind       Kind       //
	Source     netip.Addr // the address that the server's socket saw; invalid if unknown
	User       string     // login name; empty if unknown
	Service    string     // smtp, submission, imap, pop3, sieve, web (webmail and groupware)
	Server     string     // postfix, dovecot, exim; of a Content the filter: rspamd, amavis, clamav
	Recipients int        // recipients of a Message, else 0
	Password   uint32     // a hash that tells tried passwords of one user apart, such as Dovecot's pwhash; 0: unknown
	Line       uint64     // number of the record in its input, from 1
}
