package maillog

import (
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

// endless are lines that each leave something behind: # is a number that no
// line before has had, in eight digits, % is the same with a colon
// in the middle, and @ a long name with it.
const endless = `Nov 22 00:20:01 m# postfix/smtpd[#]: 3A#: client=unknown[2001:db8:%::5], sasl_method=PLAIN, sasl_username=@
Nov 22 00:20:01 mx postfix/smtpd[#]: 3B#: client=unknown[203.0.113.5], sasl_method=PLAIN, sasl_username=@
Nov 22 00:20:01 mx postfix/smtpd[7]: warning: unknown[2001:db8::%]: SASL PLAIN authentication failed: x, sasl_username=@
Nov 22 00:20:01 mx postfix/cleanup[7]: 3B#: milter-reject: END-OF-MESSAGE from unknown[203.0.113.5]: 5.7.1 Spam message rejected; from=<a@b>
Nov 22 00:20:01 m# postfix/smtpd[7]: warning: SASL: Connect to smtpd failed: No such file
Nov 22 00:20:01 m# dovecot: auth: sql(u#,2001:db8:%::7,<#>): unknown user
Nov 22 00:20:01 m# dovecot: auth: passwd-file(u#,2001:db8:%::7,<#>): unknown user
Nov 22 00:20:01 mx dovecot: imap-login: Login: user=<x#>, method=PLAIN, rip=2001:db8:%::5, lip=10.0.0.1, mpid=42, TLS, session=<#>
Nov 22 00:20:01 mx dovecot: imap-login: Disconnected (auth failed, 9 attempts in 2 secs): user=<x#>, method=PLAIN, rip=2001:db8:%::6, lip=10.0.0.1, TLS, session=<a#>
2026-11-22 00:20:01 1xUx0Z-000#-2Nxx <= a@b H=(x) [203.0.113.5] P=esmtpsa A=plain:@ S=1 for a@b c@d
2026-11-22 00:20:01 1xUx0Z-000#-2Nxx => #@example.org R=local T=null
2026-11-22 00:20:01 1xUx0Z-000#-2Nxx => x#@example.org R=local T=null
Nov 22 00:20:01 mx exim[#]: plain authenticator failed for (x) [2001:db8:%::5]: 535 Incorrect authentication data (set_id=@)
Nov 22 00:20:01 m# exim[7]: [1/9] @
Nov 22 00:20:01 mx smtpd[7]: 01234567# smtp connected address=203.0.113.5 host=x
Nov 22 00:20:01 mx smtpd[7]: 01234567# smtp authentication user=@ result=ok
2026/11/22 00:20:01 [info] 7#7: *1 client login failed: "Invalid login or password" while in http auth state, client: 2001:db8::%, server: 10.0.0.1:143, login: "@"
Nov 22 00:20:01 mx rspamd[7]: <#>; task; rspamd_task_write_log: id: <x>, qid: <4B#>, ip: 203.0.113.5, user: @, (default: T (reject): [15.00/15.00] [X]), len: 1
Nov 22 00:20:01 mx amavis[7]: (#) Blocked SPAM {Discarded}, ORIG LOCAL [203.0.113.5]:1 [203.0.113.5] <@> -> <a@b>...
Nov 22 00:20:01 mx sm-mta[#]: 6AM3lk#: AUTH failure (PLAIN): authentication failure (-13) SASL(-13): authentication failure: x, user=@
Nov 22 00:20:01 mx sm-mta[#]: AUTH=server, relay=[203.0.113.5], authid=@, mech=PLAIN, bits=0
Nov 22 00:20:01 m# roundcube: <a#> Failed login for @ from 2001:db8::% in session a# (error: 0)
Nov 22 00:20:01 mx sogod[#]: <0x0x1[SOGoDAVAuthenticator]> tried wrong password for user '@'!
2026-11-22T00:20:01Z INFO Authentication successful (auth.success) listenerId = "submission", localPort = 587, remoteIp = 2001:db8::%, remotePort = 50544, accountName = "@"
Nov 22 00:20:01 m# saslauthd[7]: do_auth         : auth failure: [user=@] [service=imap] [realm=] [mech=pam] [reason=PAM auth error]
Nov 22 00:20:01 m# imapd: authdaemon: s_connect() failed: x
Nov 22 00:20:01 mx imapd#: LOGIN FAILED, user=@, ip=[203.0.113.5], port=[1]
Nov 22 00:20:01 mx courierd: newmsg,id=0#.1, auth=@: dns; x ([203.0.113.5])
Nov 22 00:20:01 mx courierd: started,id=0#.1,from=<a@b>,module=local,host=x,addr=<#>
Nov 22 00:20:01 mx courierd: started,id=0#.1,from=<a@b>,module=local,host=x,addr=<x#>
Nov 22 00:20:01 mx imapd: LOGIN FAILED, user=@@, ip=[2001:db8::%], port=[1]`

// However long and hostile a log is, a parser's memory is bounded.
func TestMemoryIsBounded(t *testing.T) {
	templates := strings.Split(endless, "\n")
	p := newTestParser()
	number := []byte("00000000")
	pad := "\x01" + strings.Repeat("x", maxUserLen) // a control byte, so that the name is kept twice
	var line []byte
	var out []policy.Event
	rounds := func(n int) {
		for range n {
			for i := len(number) - 1; ; i-- {
				if number[i]++; number[i] <= '9' {
					break
				}
				number[i] = '0'
			}
			for i, template := range templates {
				line = line[:0]
				for _, c := range []byte(template) {
					switch c {
					case '#':
						line = append(line, number...)
					case '%':
						line = append(append(append(line, number[:4]...), ':'), number[4:]...)
					case '@':
						line = append(append(line, number...), byte('A'+i))
						line = append(line, pad...)
					default:
						line = append(line, c)
					}
				}
				out = p.Line(line, 1, out[:0])
			}
			p.RequestedMessage(time.Now(), number, netip.MustParseAddr("203.0.113.5"), "u")
			p.RequestedLogin(time.Now(), netip.MustParseAddr("203.0.113.5"), string(number))
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	empty := heap()
	rounds(maxSessions + 100) // no table needs more
	full := heap()
	rounds(maxSessions / 4)
	after := heap()
	t.Logf("%d events of %d lines; %d KiB when full, %d KiB later", p.counts.events, p.counts.lines, (full-empty)>>10, (after-empty)>>10)
	for i, s := range p.savers() {
		if v := reflect.ValueOf(s).Elem(); v.FieldByName("size").IsValid() && int64(v.FieldByName("slots").Len()) != v.FieldByName("size").Int() {
			t.Errorf("table %d, a %T, has not become full", i, s)
		}
	}
	if max(full, after)-empty > maxBytes || after > full+full/8 {
		t.Errorf("%d KiB, then %d KiB", (full-empty)>>10, (after-empty)>>10)
	}
	runtime.KeepAlive(p)
}
