package maillog

import "testing"

func TestPostfixService(t *testing.T) {
	for program, want := range map[string]string{
		"postfix/smtpd":                "smtp",
		"postfix/25/smtpd":             "smtp",
		"postfix/postscreen":           "smtp",
		"postfix-out/smtpd":            "smtp",
		"postfix-1587/smtpd":           "smtp",
		"mx4650/smtpd":                 "smtp",
		"postfix/submission/smtpd":     "submission",
		"postfix/submissions/smtpd":    "submission",
		"postfix/smtps/smtpd":          "submission",
		"postfix-mx1/submission/smtpd": "submission",
		"postfix/587/smtpd":            "submission",
		"postfix-465/smtpd":            "submission",
		"postfix/5870:465/smtpd":       "submission",
	} {
		if got := postfixService([]byte(program)); got != want {
			t.Errorf("%s: %s, not %s", program, got, want)
		}
	}
}

// Lines that say nothing are known, and others that name a client are not.
func TestPostfixNotUnderstood(t *testing.T) {
	for text, want := range map[string]uint64{
		"smtpd[1]: lost connection after AUTH from unknown[203.0.113.5]":                                                            0,
		"smtpd[1]: NOQUEUE: lost connection after AUTH from unknown[203.0.113.5]":                                                   0,
		"smtpd[1]: 3A9F2C0D1E: timeout after DATA (12 bytes) from unknown[203.0.113.5]":                                             0,
		"smtpd[1]: too many errors after RCPT from unknown[203.0.113.5]":                                                            0,
		"smtpd[1]: SSL_accept error from unknown[203.0.113.5]: lost connection":                                                     0,
		"smtpd[1]: Untrusted TLS connection established from unknown[203.0.113.5]: TLSv1.3 with cipher X":                           0,
		"smtpd[1]: unknown[203.0.113.5]: TLS cipher list \"aNULL\"":                                                                 0,
		"smtpd[1]: < unknown[203.0.113.5]: AUTH PLAIN AGJvYgB4":                                                                     0,
		"smtpd[1]: match_hostaddr: x: [203.0.113.5] ~? 127.0.0.0/8":                                                                 0,
		"smtpd[1]: warning: unknown[203.0.113.5]: request longer than 2048: x...":                                                   0,
		"smtpd[1]: warning: New TLS session rate limit exceeded: 3 from unknown[203.0.113.5] for service smtp":                      0,
		"smtpd[1]: warning: 3A9F2C0D1E: null BDAT request from unknown[203.0.113.5]":                                                0,
		"smtpd[1]: warning: reject: ETRN example.org... from unknown[203.0.113.5]":                                                  0,
		"smtpd[1]: NOQUEUE: permit: RCPT from unknown[203.0.113.5]: action=permit for Client host=unknown[203.0.113.5]; from=<a@b>": 0,
		"smtpd[1]: NOQUEUE: abort: TLS from unknown[203.0.113.5]: No client certificate presented":                                  0,
		"postscreen[1]: cache btree:/x full cleanup: retained=1 dropped=0 entries":                                                  0,
		"postscreen[1]: COMMAND LENGTH LIMIT from [203.0.113.5]:1 after EHLO":                                                       0,
		"postscreen[1]: [203.0.113.5]:1: replacing command \"x[203.0.113.5]\" with \"y\"":                                           0,
		"postscreen[1]: ALLOWLIST VETO [203.0.113.5]:1":                                                                             0,
		"anvil[1]: statistics: max connection rate 30/60s for (smtp:203.0.113.5) at Nov 22 00:20:01":                                0,

		"smtpd[1]: client unknown[203.0.113.5] did something":           1,
		"smtpd[1]: 3A9F2C0D1E: frob: RCPT from unknown[203.0.113.5]: x": 1,
		"smtpd[1]: warning: unknown[203.0.113.5]: did something":        1,
		"smtpd[1]: warning: something of unknown[203.0.113.5]":          1,
		"smtpd[1]: connect from unknown[203.0.113.5] by itself":         1,
		"postscreen[1]: FROBBED [203.0.113.5]:1":                        1,
		"postscreen[1]: DISCONNECT [203.0.113.5]":                       1,
	} {
		p := newTestParser()
		if events := p.Line([]byte("Nov 22 00:20:01 mx postfix/"+text), 1, nil); len(events) != 0 || p.Stats().NotUnderstood != want {
			t.Errorf("%s\nnot understood: %d, not %d; events %v", text, p.Stats().NotUnderstood, want, events)
		}
	}
}
