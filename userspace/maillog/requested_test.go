package maillog

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/policy"
)

// What was asked about and what the log says of it are one, whichever line is
// read before the request was told, and however often the parser is stopped in
// between; what was not asked about counts as ever.
func TestRequestedCountsOnce(t *testing.T) {
	const login, mail = policy.AuthSuccess, policy.Message
	source := netip.MustParseAddr("203.0.113.5")
	at := time.Date(2026, 11, 22, 0, 20, 1, 0, time.UTC)
	client := func(id, user string) string {
		return fmt.Sprintf("2026-11-22T00:20:01Z mx postfix/submission/smtpd[%s]: %s: client=unknown[203.0.113.5], sasl_method=PLAIN, sasl_username=%s", id[2:], id, user)
	}
	active := func(id string) string {
		return "2026-11-22T00:20:02Z mx postfix/qmgr[8]: " + id + ": from=<a@b>, size=1, nrcpt=2 (queue active)"
	}
	const exim = "2026-11-22 00:20:02 1xUx0Z-000001-2N <= a@b H=(x) [203.0.113.5] P=esmtpsa A=plain:alice S=1 for a@b c@d"
	type step struct {
		line    string
		request string // ID of a message that is asked about; "-": without one
		user    string
		want    []policy.Kind // that are news: of the request, or events of the line
	}
	for name, steps := range map[string][]step{
		"asked first": {
			{request: "3B2001", user: "Alice", want: []policy.Kind{login}}, {line: client("3B2001", "alice")}, {line: active("3B2001")}, {line: active("3B2001")},
		},
		"the client's line first": {
			{line: client("3B2001", "alice"), want: []policy.Kind{login}}, {request: "3B2001", user: "alice"}, {line: active("3B2001")},
		},
		"before a filter": {
			{request: "-", user: "alice", want: []policy.Kind{login}}, {line: client("3B2001", "alice")}, {line: active("3B2001")},
			{line: client("3B2002", "alice"), want: []policy.Kind{login}}, {line: active("3B2002"), want: []policy.Kind{mail}},
		},
		"not asked about": {
			{request: "3B2001", user: "alice", want: []policy.Kind{login}},
			{line: client("3B2002", "bob"), want: []policy.Kind{login}}, {line: active("3B2002"), want: []policy.Kind{mail}},
			{line: client("3B2003", "alice")}, {line: active("3B2003"), want: []policy.Kind{mail}},
			{line: client("3B2004", "alice"), want: []policy.Kind{login}},
		},
		"Exim": {
			{request: "1xUx0Z-000001-2N", user: "alice", want: []policy.Kind{login}}, {line: exim},
			{line: "2026-11-22 00:20:03 1xUx0Z-000001-2N => c@example.org R=local T=null"},
		},
	} {
		p := newTestParser()
		p.ExpectRequests(false)
		for i, s := range steps {
			var got []policy.Kind
			if s.request != "" {
				if p.RequestedLogin(at, source, s.user) {
					got = append(got, login)
				}
				p.RequestedMessage(at, []byte(map[bool]string{true: "", false: s.request}[s.request == "-"]), source, s.user)
			} else {
				for _, e := range p.Line([]byte(s.line), uint64(i+1), nil) {
					got = append(got, e.Kind)
				}
			}
			if !slices.Equal(got, s.want) {
				t.Errorf("%s, step %d: %v, want %v", name, i, got, s.want)
			}
			saved, err := p.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			p = newTestParser()
			p.ExpectRequests(false)
			if err := p.UnmarshalBinary(saved); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An unknown recipient that both requests and the log tell of is one, whichever
// comes first; where requests do not tell of them, the log alone counts.
func TestUnknownRecipientCountsOnce(t *testing.T) {
	source := netip.MustParseAddr("203.0.113.5")
	at := time.Date(2026, 11, 22, 0, 20, 1, 0, time.UTC)
	const line = "2026-11-22T00:20:01Z mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[203.0.113.5]: 550 5.1.1 <a@b>: Recipient address rejected: User unknown in local recipient table; from=<x@y> to=<a@b> proto=ESMTP helo=<h>"
	for name, c := range map[string]struct {
		tells bool
		story string // l: the line is an event; r: the request is news; in capitals: it is not
	}{
		"request first":        {true, "rL"},
		"line first":           {true, "lR"},
		"two of each, crossed": {true, "llRRrL"},
		"requests alone":       {true, "rrr"},
		"the log alone":        {true, "lll"},
		"requests do not tell": {false, "llrl"},
	} {
		p := NewParser(Options{Location: time.UTC, Reference: at})
		p.ExpectRequests(c.tells)
		for i, step := range c.story {
			news := step == 'l' || step == 'r'
			var got bool
			if step == 'l' || step == 'L' {
				got = len(p.Line([]byte(line), uint64(i), nil)) == 1
			} else {
				got = p.RequestedUnknown(at, source)
			}
			if got != news {
				t.Errorf("%s: step %d is news: %t", name, i, got)
			}
		}
	}
}
