package maillog

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/policy"
)

// strictTemplates are lines of an Exim that has refused a strange HELO, as
// templates are.
var strictTemplates = []string{
	"2026-11-22 00:20:01 plain authenticator failed for (x) [203.0.113.5] I=[10.0.0.1]:587: 535 Incorrect authentication data (set_id=@)",
	"2026-11-22 00:20:01 1xUx0Z-0008Ft-2N <= \"@Q\"@@example.net H=(x) [203.0.113.5] P=esmtpsa X=TLS1.3:256 CV=no A=plain:bob S=1 id=\"@Q\"@@example.net T=\"@Q\" from <\"@Q\"@@example.net> for a@@example.org \"@Q\"@@example.org",
	"2026-11-22 00:20:01 1xUx0Z-0008Ft-2N <= \"@Q\"@@example.net H=host.example.net ([10.0.0.1]) [203.0.113.5] P=esmtpa A=plain:bob S=1 id=\"@Q\"@@example.net for a@@example.org \"@Q\"@@example.org",
	"2026-11-22 00:20:01 H=(x) [203.0.113.5] F=<\"@Q\"@@example.net> rejected RCPT <\"@Q\"@@example.org>: Unrouteable address",
}

// Such an Exim's lines are read whatever else stands in them, and right: no
// client hides behind its words.
func TestEximInjection(t *testing.T) {
	t.Parallel()
	real := netip.MustParseAddr("203.0.113.5")
	words := mustForgeries(t)
	var line []byte
	var events []policy.Event
	for _, text := range strictTemplates {
		template, p := newTemplate(text), newTestParser()
		p.Line([]byte("2026-11-22 00:20:00 rejected EHLO from [203.0.113.5]: syntactically invalid argument(s): a b"), 1, nil)
		for _, word := range words {
			line = template.fill(line[:0], word)
			events = p.Line(line, 2, events[:0])
			if len(events) == 0 {
				t.Fatalf("no event:\n%s", line)
			}
			for _, e := range events {
				if e.Source != real || e.Kind == policy.AuthSuccess && e.User != "bob" || e.Kind == policy.Message && (e.User != "bob" || e.Recipients != 2) {
					t.Fatalf("event %+v:\n%s", e, line)
				}
			}
		}
	}
}

// A list of recipients is as long as it says, whatever they are.
func FuzzEximRecipients(f *testing.F) {
	f.Add("bob", uint8(2))
	f.Add(`a b" for c`, uint8(1))
	f.Add(`\`, uint8(7))
	f.Fuzz(func(t *testing.T, name string, n uint8) {
		if strings.ContainsAny(name, "\n\r\x00") {
			return
		}
		template := newTemplate(" P=esmtp S=1 id=\"@Q\"@@x T=\"@Q\" for" + strings.Repeat(" \"@Q\"@@example.net", int(n)))
		line := template.fill(nil, name)
		if got := eximRecipients(line); got != int(n) {
			t.Fatalf("%d recipients instead of %d:\n%s", got, n, line)
		}
	})
}

// Parts of texts in any order and of any process: no more is kept than
// Exim's buffer holds, and a text is joined from its own parts alone.
func FuzzEximParts(f *testing.F) {
	f.Add([]byte{1, 1, 0, 1, 2, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		var s eximParts
		part := make([]byte, 1000)
		for ; len(script) >= 3; script = script[3:] {
			key := uint64(script[0]%3) + 1
			copy(part, bytes.Repeat(binary.LittleEndian.AppendUint64(nil, key), len(part)/8))
			text, ok := s.join(key, int(script[1]%12), script[2]%4 == 0, part)
			if len(s.Text) > maxEximText || ok != (len(text) > 0 && s.Key == 0) {
				t.Fatalf("%d bytes, ok %t", len(s.Text), ok)
			}
			for i := 0; ok && i+8 <= len(text); i += 8 {
				if binary.LittleEndian.Uint64(text[i:]) != key {
					t.Fatalf("bytes of process %d for process %d", text[i], key)
				}
			}
		}
	})
}

// Reading the lines of Exim, OpenSMTPD and Sendmail allocates nothing once
// names and tables are warm.
func TestMTANoAllocations(t *testing.T) {
	for _, log := range []string{"exim-mainlog-all.log", "exim-mainlog.log", "exim-syslog.log", "exim-4.98.log", "opensmtpd-7.6.log", "sendmail-8.17.log", "sendmail-8.18.log"} {
		text, err := os.ReadFile(filepath.Join("testdata", "running", log))
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(text, []byte("\n"))
		p := newTestParser()
		out := make([]policy.Event, 0, maxRepeat)
		pass := func() {
			for i, line := range lines {
				out = p.Line(line, uint64(i), out[:0])
			}
		}
		for range 200 { // the ring of told failures is full after that
			pass()
		}
		if n := testing.AllocsPerRun(20, pass) / float64(len(lines)); n > 0.001 {
			t.Errorf("%s: %.4f allocations a line", log, n)
		}
	}
}

// Another server's log with a stamp like Exim's is left to its reader, and
// what nobody knows gives nothing.
func TestMainlogIsExims(t *testing.T) {
	for line, server := range map[string]string{
		"2026-11-22 00:20:01 plain authenticator failed for (x) [203.0.113.5]: 535 Incorrect authentication data":                                                         "exim",
		"2026-11-22 00:20:01.123 +0100 [7] plain authenticator failed for (x) [203.0.113.5]: 535 Incorrect authentication data":                                           "exim",
		"2026-11-22 00:20:01 imap-login: Info: Disconnected (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, session=<AAAA>": "dovecot",
		"2026-11-22 00:20:01 mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1":           "dovecot",
		"2026-11-22 00:20:01 auth(x authenticator failed for [203.0.113.6]: 535 ,203.0.113.5,sasl:plain)<AAAA>: Info: sql: unknown user":                                  "dovecot",
		"2026-11-22 00:20:01 mx postfix/smtpd[1]: warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: UGFzc3dvcmQ6":                                          "postfix",
		"2026-11-22 00:20:01 imap(x authenticator failed for [203.0.113.6]: 535 Incorrect authentication data)<1><AAAA>: Info: Logged out":                                "",
		"2026-11-22 00:20:01 UTC [7] LOG: plain authenticator failed for (x) [203.0.113.5]: 535 Incorrect authentication data":                                            "",
		"2026-11-22T00:20:01 plain authenticator failed for (x) [203.0.113.5]: 535 Incorrect authentication data":                                                         "",
		"2026-11-22 00:20:01 [error] 7#7: *1 client: 203.0.113.5, request: \"GET /\" [203.0.113.5]":                                                                       "",
	} {
		p := newTestParser()
		events := p.Line([]byte(line), 1, nil)
		if server == "" && len(events) == 0 {
			if p.counts.notUnderstood != 0 {
				t.Errorf("somebody else's line is not understood:\n%s", line)
			}
			continue
		}
		if len(events) != 1 || events[0].Server != server || events[0].Source != netip.MustParseAddr("203.0.113.5") {
			t.Errorf("got %+v:\n%s", events, line)
		}
	}
}
