package maillog

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

// templates are lines as servers write them, with @ where the client's words
// stand, @80 and @64 where Dovecot cuts them, @Q where they are quoted, and @@
// for an @.
var templates = []string{
	"Nov 22 00:20:01 mx postfix/smtpd[1]: warning: non-SMTP command from unknown[203.0.113.5]: @",
	"Nov 22 00:20:01 mx postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL @ authentication failed: Invalid authentication mechanism: '@', sasl_username=(unavailable)",
	"Nov 22 00:20:01 mx postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=@",
	"Nov 22 00:20:01 mx postfix/smtpd[1]: 3A9F2C0D1E: client=unknown[203.0.113.5], sasl_method=PLAIN, sasl_username=@",
	"Nov 22 00:20:01 mx postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[203.0.113.5]: 550 5.1.1 <@>: Recipient address rejected: User unknown in local recipient table; from=<@> to=<@> proto=ESMTP helo=<@>",
	"Nov 22 00:20:01 mx postfix/qmgr[1]: 3A9F2C0D1E: from=<@>, size=1, nrcpt=1 (queue active)",
	"Nov 22 00:20:01 mx postfix/cleanup[1]: 3A9F2C0D1E: message-id=<@>",
	"Nov 22 00:20:01 mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<@80>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<AAAA>",
	"Nov 22 00:20:01 mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<bob>, method=@64, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<AAAA>",
	"Nov 22 00:20:01 mx dovecot: imap-login: ID sent: name=@: user=<>, rip=203.0.113.5, lip=10.0.0.1, TLS, session=<AAAA>",
	"Nov 22 00:20:01 mx dovecot: imap(@64)<1><AAAA>: Logged out in=1 out=2",
	"Nov 22 00:20:01 imap(@64)<1><AAAA>: Info: Logged out in=1 out=2",
	"Nov 22 00:20:01 mx dovecot: auth: sql(@64,203.0.113.5,<AAAA>): unknown user",
	"Nov 22 00:20:01 mx dovecot: auth: sql(bob,203.0.113.5,<AAAA>): unknown user (given password: @)",
	"Nov 22 00:20:01 mx dovecot: auth(@64,203.0.113.5,sasl:plain)<AAAA>: sql: unknown user",
	"Nov 22 00:20:01 auth(@64,203.0.113.5,sasl:plain)<AAAA>: Info: sql: unknown user",
	"Nov 22 00:20:01 mx dovecot: auth-worker(@64,203.0.113.5,sasl:plain)<1><AAAA>: request [1]: sql: Password mismatch (given password: @)",
	"Nov 22 00:20:01 mx dovecot: lmtp(@64)<1><AAAA>: msgid=<@>: saved mail to INBOX",
	"2026-11-22 00:20:01 plain authenticator failed for (@) [203.0.113.5]: 535 Incorrect authentication data (set_id=bob)",
	"2026-11-22 00:20:01 plain authenticator failed for (x) [203.0.113.5] I=[10.0.0.1]:587: 535 Incorrect authentication data (set_id=@)",
	"2026-11-22 00:20:01 [7] plain authenticator failed for host.example.net (@) [203.0.113.5]:1234: 535 Incorrect authentication data (set_id=@)",
	"2026-11-22 00:20:01 plain authenticator failed for (@) [203.0.113.5] U=@: 535 Incorrect authentication data (set_id=@)",
	"2026-11-22 00:20:01 1xUx0Z-0008Ft-2N <= a@@example.net H=(@) [203.0.113.5] P=esmtp S=1 id=\"@Q\"@@example.net T=\"@Q\" for \"@Q\"@@example.org",
	"2026-11-22 00:20:01 1xUx0Z-0008Ft-2N <= \"@Q\"@@example.net H=(x) [203.0.113.5] P=esmtpsa X=TLS1.3:256 CV=no DN=\"@\" A=plain:bob S=1 id=\"@Q\"@@example.net from <\"@Q\"@@example.net> for a@@example.org",
	"Nov 22 00:20:01 mx exim4[7]: 2026-11-22 00:20:01 +0100 1xUx0Z-0008Ft-2N <= <> H=[203.0.113.5] P=esmtpsa DN=\"@\" A=plain:@ S=1 id=\"@Q\"@@example.net",
	"2026-11-22 00:20:01 H=(@) [203.0.113.5] F=<\"@Q\"@@example.net> rejected RCPT <\"@Q\"@@example.org>: Unrouteable address",
	"2026-11-22 00:20:01 H=(x) [203.0.113.5] X=TLS1.3:256 DN=\"@\" F=<\"@Q\"@@example.net> A=plain:@ rejected RCPT <\"@Q\"@@example.org>: relay not permitted",
	"2026-11-22 00:20:01 rejected EHLO from (@) [203.0.113.5]: syntactically invalid argument(s): @",
	"2026-11-22 00:20:01 SMTP syntax error in \"@\" H=(@) [203.0.113.5] unrecognized command",
	"2026-11-22 00:20:01 SMTP call from (@) [203.0.113.5] dropped: too many nonmail commands (last was \"@\")",
	"2026-11-22 00:20:01 SMTP connection from (@) [203.0.113.5] closed by QUIT",
	"2026-11-22 00:20:01 1xUx0Z-0008Ft-2N => @@@example.net <\"@Q\"@@example.net> R=remote T=smtp H=@ [203.0.113.5] C=\"@\"",
	"Nov 22 00:20:01 mx exim[7]: [2/2] @) [203.0.113.5]: 535 Incorrect authentication data (set_id=@)",
}

// fill puts the client's text into a template.
func fill(template, text string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
	return strings.NewReplacer("@@", "@", "@Q", quoted, "@80", text[:min(80, len(text))], "@64", text[:min(64, len(text))], "@", text).Replace(template)
}

// Every field that clients choose is filled with every line of the corpus.
func TestInjection(t *testing.T) {
	real := netip.MustParseAddr("203.0.113.5")
	words := mustForgeries(t)
	tried := 0
	for _, template := range templates {
		for _, word := range words {
			line := fill(template, word)
			p := newTestParser()
			events := p.Line([]byte("Nov 22 00:20:00 mx postfix/smtpd[1]: 3A9F2C0D1E: client=unknown[203.0.113.5]"), 1, nil)
			for _, e := range p.Line([]byte(line), 2, events) {
				if e.Source != real {
					t.Fatalf("source %v instead of %v:\n%s", e.Source, real, line)
				}
			}
			tried++
		}
	}
	t.Logf("%d forged lines", tried)
}

// mustForgeries returns what clients may write: every line of the corpus with
// addresses that are not theirs, whole and in parts.
func mustForgeries(t testing.TB) (words []string) {
	t.Helper()
	clients := strings.NewReplacer("203.0.113.", "192.0.2.", "198.51.100.", "192.0.2.", "2001:db8:", "2001:db8:bad:", "10.0.0.", "192.0.2.", "127.0.0.", "192.0.2.")
	for k := range patternCount {
		for _, s := range mustSamples(t, filepath.Join("testdata", "corpus", k.String()+".txt")) {
			for _, line := range s.lines {
				line = clients.Replace(line)
				words = append(words, line, line[min(len(line), 16):])
				for _, mark := range []string{": ", "user=<", "rip=", "client=", "from ", "warning: ", "(", "[", "<= ", "H=", ") [", "x) ["} {
					for i := 0; ; {
						n := strings.Index(line[i:], mark)
						if n < 0 {
							break
						}
						words = append(words, line[i+n:], "x"+line[i+n:], line[i+n+len(mark):])
						i += n + len(mark)
					}
				}
			}
		}
	}
	return words
}
