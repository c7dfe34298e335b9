package maillog

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func mustZone(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("no zone data: %v", err)
	}
	return zone
}

// times returns the times of Postfix's connects at the given stamps.
func times(o Options, stamps ...string) (got []string) {
	p := NewParser(o)
	for _, stamp := range stamps {
		events := p.Line([]byte(stamp+" mx postfix/smtpd[1]: connect from unknown[203.0.113.5]"), 1, nil)
		if len(events) == 0 {
			got = append(got, "none")
		}
		for _, e := range events {
			got = append(got, e.Time.Format(time.RFC3339Nano))
		}
	}
	return got
}

func TestStamps(t *testing.T) {
	tests := []struct {
		name, zone, reference string
		stamps, want          []string
	}{
		{"this year", "UTC", "2026-11-22", []string{"Nov 22 00:20:01", "Nov  2 00:20:01", "Nov 02 00:20:02"}, []string{"2026-11-22T00:20:01Z", "2026-11-02T00:20:01Z", "2026-11-02T00:20:02Z"}},
		{"fraction", "Europe/Berlin", "2026-11-22", []string{"Nov 22 00:20:01.5", "Nov 2 00:20:01.123456"}, []string{"2026-11-21T23:20:01.5Z", "2026-11-01T23:20:01.123456Z"}},
		{"unpadded day", "UTC", "2026-11-22", []string{"Nov 2 00:20:01"}, []string{"2026-11-02T00:20:01Z"}},
		{"last year", "UTC", "2026-11-22", []string{"Nov 30 23:59:59", "Dec 31 23:59:59", "Jan  1 00:00:00"}, []string{"2025-11-30T23:59:59Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"}},
		{"over the new year", "UTC", "2026-12-31", []string{"Dec 31 23:59:59", "Jan  1 00:00:00", "Dec 31 23:59:58", "Jan  1 00:00:01"}, []string{"2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "2026-12-31T23:59:58Z", "2027-01-01T00:00:01Z"}},
		{"back over the new year at once", "UTC", "2027-01-01", []string{"Jan  1 00:00:01", "Dec 31 23:59:59"}, []string{"2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"}},
		{"two years", "UTC", "2026-03-01", []string{"Feb  1 00:00:00", "Jun  1 00:00:00", "Oct  1 00:00:00", "Feb  1 00:00:00"}, []string{"2026-02-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-10-01T00:00:00Z", "2027-02-01T00:00:00Z"}},
		{"leap day", "UTC", "2028-03-01", []string{"Feb 29 12:00:00"}, []string{"2028-02-29T12:00:00Z"}},
		{"zone", "Europe/Berlin", "2026-11-22", []string{"Jul  1 12:00:00", "Nov  1 12:00:00", "2026-07-01T12:00:00", "2026-07-01 12:00:00"}, []string{"2026-07-01T10:00:00Z", "2026-11-01T11:00:00Z", "2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"}},
		{"RFC 3339", "Europe/Berlin", "2026-11-22", []string{"2026-11-22T00:20:01Z", "2026-11-22T00:20:01.547326+01:00", "2026-11-22T00:20:01.5-09:30", "2026-11-22T00:20:01+0100", "2026-11-22T00:20:01.123456-0930"}, []string{"2026-11-22T00:20:01Z", "2026-11-21T23:20:01.547326Z", "2026-11-22T09:50:01.5Z", "2026-11-21T23:20:01Z", "2026-11-22T09:50:01.123456Z"}},
		{"not a stamp", "UTC", "2026-11-22", []string{"Nov 32 00:20:01", "Foo 22 00:20:01", "Nov 22 24:20:01", "2026-13-22T00:20:01Z", "2026-11-22T00:20:01+01", "2026-11-22T00:20:01+010:0", "Nov 22 00:20:01.x", "Nov 22 00:20"}, []string{"none", "none", "none", "none", "none", "none", "none", "none"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			newest, err := time.Parse(time.DateOnly, test.reference)
			if err != nil {
				t.Fatal(err)
			}
			got := times(Options{Location: mustZone(t, test.zone), Reference: newest}, test.stamps...)
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got  %v\nwant %v", got, test.want)
			}
		})
	}
}

// The year turns although nothing but noise is written for months.
func TestYearTurnsUnseen(t *testing.T) {
	p := NewParser(Options{Reference: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
	for _, month := range []string{"May", "Jul", "Sep", "Nov", "Jan", "Mar"} {
		p.Line([]byte(month+" 10 00:00:00 mx CRON[7]: pam_unix(cron:session): session opened"), 1, nil)
	}
	events := p.Line([]byte("Apr 10 00:00:00 mx postfix/smtpd[1]: connect from unknown[203.0.113.5]"), 7, nil)
	if len(events) != 1 || events[0].Time.Year() != 2027 {
		t.Errorf("got %v, want one event of 2027", events)
	}
}

func TestHeaders(t *testing.T) {
	tests := []struct{ line, host, program, text string }{
		{"Nov 22 00:20:01 mx postfix/smtpd[42]: connect from x", "mx", "postfix/smtpd", "connect from x"},
		{"<22>Nov 22 00:20:01 mx dovecot: imap-login: x\r\n", "mx", "dovecot", "imap-login: x"},
		{"Nov 22 00:20:01 mx mail.info postfix/smtpd[42]: x", "mx", "postfix/smtpd", "x"},
		{"Nov 22 00:20:01 mx mail.inform postfix/smtpd[42]: x", "", "", ""},
		{"Nov 22 00:20:01 mx mail.info", "", "", ""},
		{"Nov 22 00:20:01 mx a[b].info postfix/smtpd[42]: x", "", "", ""},
		{"\x00\x00Nov 22 00:20:01 mx dovecot: x", "mx", "dovecot", "x"},
		{"\x00", "", "", ""},
		{"2026-11-22T00:20:01.5+01:00 2001:db8::1 kernel: x", "2001:db8::1", "kernel", "x"},
		{"Nov 22 00:20:01 postfix/smtpd[42]: x\x00\x00", "", "postfix/smtpd", "x"},
		{"Nov 22 00:20:01 imap-login: Info: x", "", "imap-login", "imap-login: Info: x"},
		{"2026-11-22 00:20:01 auth-worker(7): Info: x", "", "auth-worker", "auth-worker(7): Info: x"},
		{"Nov 22 00:20:01 auth(a b c[1]: d): x", "", "auth", "auth(a b c[1]: d): x"},
		{"Nov 22 00:20:01 imap(a b c[1]: d): x", "", "", ""},
		{"Nov 22 00:20:01 mx", "", "", ""},
		{"Nov 22 00:20:01 mx program without colon", "", "", ""},
		{"Nov 22 00:20:01 mx prog[x]: y", "", "", ""},
		{"<2222>Nov 22 00:20:01 mx a: b", "", "", ""},
		{"", "", "", ""},
		{"<", "", "", ""},
	}
	for _, test := range tests {
		var r record
		if !splitHeader([]byte(test.line), &r) {
			r = record{}
		}
		if string(r.host) != test.host || string(r.program) != test.program || string(r.text) != test.text {
			t.Errorf("%q: got host %q, program %q, text %q", test.line, r.host, r.program, r.text)
		}
	}
}
