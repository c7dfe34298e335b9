package maillog

import (
	"fmt"
	"testing"

	"weir/policy"
)

// mixedLog is a log of a host with Postfix and Dovecot, 60 lines a round:
// sessions that send mail, failures told by two processes, mailbox access,
// and what else is written on such a host.
func mixedLog(rounds int) (lines [][]byte) {
	for i := range rounds {
		n := 0
		add := func(format string, values ...any) {
			stamp := fmt.Sprintf("Nov 22 %02d:%02d:%02d mx ", i/3600%24, i/60%60, i%60)
			if i%2 == 1 {
				stamp = fmt.Sprintf("2026-11-22T%02d:%02d:%02d.%06d+01:00 mx ", i/3600%24, i/60%60, i%60, n)
			}
			n++
			lines = append(lines, fmt.Appendf([]byte(stamp), format, values...))
		}
		v4, v6 := fmt.Sprintf("203.0.%d.%d", i/250%250, i%250), fmt.Sprintf("2001:db8:%x:%x::5", i>>16, i&0xffff)
		id, pid := fmt.Sprintf("3A%08X", i), 1000+i%200
		user := fmt.Sprintf("user%d@example.org", i%500)
		for _, addr := range []string{v4, v6} {
			add("postfix/submission/smtpd[%d]: connect from unknown[%s]", pid, addr)
			add("postfix/submission/smtpd[%d]: Anonymous TLS connection established from unknown[%s]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519", pid, addr)
			add("dovecot: auth: passwd-file(%s,%s): Password mismatch", user, addr)
			add("postfix/submission/smtpd[%d]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", pid, addr)
			add("postfix/submission/smtpd[%d]: lost connection after AUTH from unknown[%s]", pid, addr)
			add("postfix/submission/smtpd[%d]: disconnect from unknown[%s] ehlo=1 auth=0/1 commands=1/2", pid, addr)
			add("dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=%s, lip=10.0.0.1, mpid=%d, TLS, session=<3650VvK5bdIaW+iK>", user, addr, pid)
			add("dovecot: imap(%s)<%d><3650VvK5bdIaW+iK>: Disconnected: Logged out in=123 out=4567 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0", user, pid)
		}
		add("postfix/smtpd[%d]: connect from mail.example.net[%s]", pid, v4)
		add("postfix/smtpd[%d]: %s: client=mail.example.net[%s], sasl_method=PLAIN, sasl_username=%s", pid, id, v4, user)
		add("postfix/cleanup[%d]: %s: message-id=<20261122002001.%s@mail.example.net>", pid, id, id)
		add("opendkim[88]: %s: DKIM-Signature field added (s=mail, d=example.org)", id)
		add("postfix/qmgr[99]: %s: from=<%s>, size=1234, nrcpt=2 (queue active)", id, user)
		add("postfix/smtp[%d]: %s: to=<a@example.net>, relay=mail.example.net[198.51.100.7]:25, delay=0.5, delays=0.1/0/0.2/0.2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4FxYz)", pid, id)
		add("postfix/smtp[%d]: %s: to=<b@example.net>, relay=mail.example.net[198.51.100.7]:25, delay=0.5, delays=0.1/0/0.2/0.2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4FxYz)", pid, id)
		add("postfix/qmgr[99]: %s: removed", id)
		add("postfix/smtpd[%d]: NOQUEUE: reject: RCPT from unknown[%s]: 550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in virtual mailbox table; from=<a@example.net> to=<nobody@example.org> proto=ESMTP helo=<x>", pid, v4)
		add("postfix/smtpd[%d]: disconnect from mail.example.net[%s] ehlo=1 mail=1 rcpt=2 data=1 quit=1 commands=6", pid, v4)
		add("postfix/anvil[77]: statistics: max connection rate 1/60s for (smtp:%s) at Nov 22 00:20:01", v4)
		for k := range 33 {
			switch k % 6 {
			case 0:
				add("dovecot: lmtp(%s)<%d><AbCdEf>: sieve: msgid=<%s@mail.example.net>: stored mail into mailbox 'INBOX'", user, pid, id)
			case 1:
				add("postfix/lmtp[%d]: %s: to=<%s>, relay=mx[private/dovecot-lmtp], delay=0.1, delays=0.05/0/0.01/0.04, dsn=2.0.0, status=sent (250 2.0.0 Saved)", pid, id, user)
			case 2:
				add("rspamd[55]: <%s>; task; rspamd_task_write_log: id: <x>, qid: <%s>, ip: %s, from: <a@example.net>, (default: F (no action): [1.50/15.00])", id, id, v4)
			case 3:
				add("dovecot: imap(%s)<%d><3650VvK5bdIaW+iK>: Connection closed (IDLE running for 0.001 + waiting input for 1740.1 secs) in=123 out=4567", user, pid)
			case 4:
				add("postfix/postscreen[66]: PASS OLD [%s]:51234", v4)
			default:
				add("CRON[%d]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)", pid)
			}
		}
	}
	return lines
}

func BenchmarkMixed(b *testing.B) {
	lines := mixedLog(2000)
	bytes := 0
	for _, line := range lines {
		bytes += len(line) + 1
	}
	p := newTestParser()
	out := make([]policy.Event, 0, maxRepeat)
	for _, line := range lines { // warm: tables and names
		out = p.Line(line, 1, out[:0])
	}
	b.SetBytes(int64(bytes / len(lines)))
	b.ReportAllocs()
	events, i := 0, 0
	for b.Loop() {
		out = p.Line(lines[i], 1, out[:0])
		events += len(out)
		if i++; i == len(lines) {
			i = 0
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(events)/float64(b.N), "events/line")
}

func BenchmarkLine(b *testing.B) {
	for name, text := range map[string]string{
		"other-program":      "Nov 22 00:20:01 mx CRON[123]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
		"postfix-noise":      "Nov 22 00:20:01 mx postfix/smtpd[123]: lost connection after AUTH from unknown[203.0.113.5]",
		"postfix-connect":    "Nov 22 00:20:01 mx postfix/smtpd[123]: connect from unknown[203.0.113.5]",
		"postfix-failure":    "Nov 22 00:20:01 mx postfix/smtpd[123]: warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
		"dovecot-noise":      "Nov 22 00:20:01 mx dovecot: imap(bob)<1><3650VvK5bdIaW+iK>: Disconnected: Logged out in=123 out=4567",
		"dovecot-login":      "Nov 22 00:20:01 mx dovecot: imap-login: Login: user=<bob>, method=PLAIN, rip=203.0.113.5, lip=10.0.0.1, mpid=42, TLS, session=<3650VvK5bdIaW+iK>",
		"exim-noise":         "2026-11-22 02:13:45 1xUx5N-0003UO-0l => bob <bob@example.org> R=local T=null",
		"exim-failure":       "2026-11-22 02:07:23 plain_server authenticator failed for (client.example.net) [203.0.113.5]: 535 Incorrect authentication data (set_id=bob)",
		"exim-arrival":       "2026-11-22 02:07:25 1xUwzF-0007U6-0F <= bob@example.org H=(laptop.example.net) [203.0.113.5] P=esmtpa A=plain_server:bob S=226 id=0@laptop for bob@example.org carol@example.org",
		"rspamd-verdict":     "Nov 22 00:20:01 mx rspamd[152]: <544c9a>; proxy; rspamd_task_write_log: id: <10@laptop.example.net>, qid: <814F81989E6>, ip: 203.0.113.10, user: bob, from: <bob@example.net>, (default: T (reject): [15.00/15.00] [GTUBE(0.00){}]), len: 224, time: 1.1ms, dns req: 0",
		"rspamd-noise":       "Nov 22 00:20:01 mx rspamd[152]: <544c9a>; proxy; rspamd_message_parse: loaded message; id: <10@laptop.example.net>; queue-id: <814F81989E6>; size: 224",
		"cleanup-noise":      "Nov 22 00:20:01 mx postfix/cleanup[123]: 3A9F2C0D1E: message-id=<10@laptop.example.net>",
		"amavis-verdict":     "Nov 22 00:20:01 mx amavis[375]: (00375-01) Blocked SPAM {DiscardedInternal,Quarantined}, ORIG LOCAL [203.0.113.10]:43955 [203.0.113.10] <bob@example.net> -> <carol@example.com>, quarantine: 8/spam-8qdSTo6BzxOV.gz, Queue-ID: 354301989FF, Message-ID: <10@laptop.example.net>, mail_id: 8qdSTo6BzxOV, Hits: 1001.4, size: 406, 407 ms",
		"nginx-failure":      `2026/11/22 00:20:01 [info] 7#7: *1 client login failed: "Invalid login or password" while in http auth state, client: 203.0.113.5, server: 10.0.0.1:143, login: "bob"`,
		"nginx-noise":        `2026/11/22 00:20:01 [error] 7#7: *23638 directory index of "/static/" is forbidden, client: 203.0.113.5, server: , request: "GET / HTTP/1.1", host: "mail.example.com"`,
		"sogo-failure":       "Nov 22 00:20:01 sogod [7]: SOGoRootPage Login from '203.0.113.5' for user 'bob' might not have worked - password policy: 65535  grace: -1  expire: -1  bound: 0",
		"sogo-noise":         `Nov 22 00:20:01 sogod [7]: 203.0.113.5 "POST /SOGo/connect HTTP/1.1" 403 54/77 0.004 - - 0 - 14`,
		"roundcube-failure":  "[22-Nov-2026 00:20:01 +0000]: <scp1ih4b> Failed login for bob from 203.0.113.5 in session scp1ih4buj2a4p1g (error: 0)",
		"stalwart-failure":   `2026-11-22T00:20:01Z DEBUG Authentication failed (auth.failed) listenerId = "submission", localPort = 587, remoteIp = 203.0.113.5, remotePort = 50544, accountName = "bob", reason = "Authentication failed", remoteIp = 203.0.113.5`,
		"stalwart-noise":     `2026-11-22T00:20:01Z INFO SMTP EHLO command (smtp.ehlo) listenerId = "smtp", localPort = 25, remoteIp = 203.0.113.5, remotePort = 50544, domain = "x.example.net"`,
		"other-mainlog":      "2026-11-22 00:20:01 [error] 7#7: *1 connect() failed while connecting to upstream, client: 203.0.113.5, server: x",
		"dovecot-failure-v6": "2026-11-22T00:20:01.547326+01:00 mx dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, rip=2001:db8::5, lip=2001:db8::1, TLS, session=<3650VvK5bdIaW+iK>",
	} {
		b.Run(name, func(b *testing.B) {
			p := newTestParser()
			line := []byte(text)
			out := make([]policy.Event, 0, maxRepeat)
			b.ReportAllocs()
			for b.Loop() {
				out = p.Line(line, 1, out[:0])
			}
		})
	}
}

// Reading goes on without a single allocation once names and tables are warm.
func TestNoAllocations(t *testing.T) {
	lines := mixedLog(1500)
	p := newTestParser()
	out := make([]policy.Event, 0, maxRepeat)
	pass := func() {
		for i, line := range lines {
			out = p.Line(line, uint64(i), out[:0])
		}
	}
	pass()
	if n := testing.AllocsPerRun(3, pass) / float64(len(lines)); n > 0.001 {
		t.Errorf("%.4f allocations a line", n)
	}
}

func BenchmarkMarshal(b *testing.B) {
	p := newTestParser()
	for i, line := range mixedLog(20000) {
		p.Line(line, uint64(i), nil)
	}
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		state, err := p.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		size = len(state)
	}
	b.ReportMetric(float64(size), "bytes")
}
