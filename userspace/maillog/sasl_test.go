package maillog

import (
	"fmt"
	"testing"
)

// The servers that ask Cyrus SASL agree on what is an offence.
func TestSASLResults(t *testing.T) {
	for _, result := range []struct {
		number  int
		text    string
		offence bool
	}{
		{1, "another step is needed in authentication", false},
		{-1, "generic failure", false},
		{-2, "no memory available", false},
		{-3, "overflowed buffer", false},
		{-4, "no mechanism available", true},
		{-5, "bad protocol / cancel", false},
		{-6, "can't request information until later in exchange", false},
		{-7, "invalid parameter supplied", false},
		{-8, "transient failure (e.g., weak key)", false},
		{-9, "integrity check failed", false},
		{-10, "server failed mutual authentication step", false},
		{-11, "mechanism doesn't support requested feature", false},
		{-12, "SASL library is not initialized", false},
		{-13, "authentication failure", true},
		{-14, "authorization failure", false},
		{-15, "mechanism too weak for this user", false},
		{-16, "encryption needed to use mechanism", false},
		{-17, "One time use of a plaintext password will enable requested mechanism for user", false},
		{-18, "passphrase expired, has to be reset", false},
		{-19, "account disabled", false},
		{-20, "user not found", true},
		{-21, "passphrase locked", false},
		{-23, "version mismatch with plug-in", false},
		{-24, "remote authentication server unavailable", false},
		{-26, "user exists, but no verifier for user", false},
		{-32, "channel binding failure", false},
		{-100, "error when parsing configuration file", false},
		{-131, "undefined error!", false},
	} {
		n, text := result.number, result.text
		for _, line := range []string{
			fmt.Sprintf("postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL PLAIN authentication failed: %s", text),
			fmt.Sprintf("postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL PLAIN authentication failed: %s, sasl_username=bob", text),
			fmt.Sprintf("sm-mta[1]: 6AM3lke0027212: AUTH failure (PLAIN): %s (%d) SASL(%d): %s: x, user=bob, relay=[203.0.113.5]", text, n, n, text),
			fmt.Sprintf("cyrus/imap[1]: badlogin: [203.0.113.5] PLAIN (bob) [SASL(%d): %s: x]", n, text),
			fmt.Sprintf("cyrus/imap[1]: badlogin: [203.0.113.5] PLAIN (bob) [%s]", text),
			fmt.Sprintf("cyrus/sieve[1]: badlogin: [203.0.113.5] PLAIN %s", text),
			fmt.Sprintf("cyrus/http[1]: event=login.bad r.clienthost=[203.0.113.5] u.username=bob login.scheme=Basic error=\"%s\"", text),
		} {
			events := newTestParser().Line([]byte("Nov 22 00:20:01 mx "+line), 1, nil)
			if len(events) > 1 || result.offence != (len(events) == 1) {
				t.Errorf("%d events, offence %t:\n%s", len(events), result.offence, line)
			}
		}
	}
}
