package controltest

import (
	"net/netip"
	"time"

	"weir/policy"
	"weir/userspace/control"
)

// Scene returns an enforcing agent that has flagged one of everything, at
// noon.
func Scene(noon time.Time) *Backend {
	b := &Backend{Dropped: 3609, Health: control.Status{Mode: "enforce"}}
	prefix := func(s string) policy.Target { return policy.Target{Prefix: netip.MustParsePrefix(s)} }
	source := netip.MustParseAddr("203.0.113.9")
	b.Put(policy.Decision{
		Target: prefix("203.0.113.9/32"), Action: policy.Drop, Since: noon.Add(-12 * time.Minute), Until: noon.Add(48 * time.Minute),
		Rule: "source-failures", Reason: "20 failures in 10m", Offence: 2,
		Evidence: policy.Evidence{Count: 20, FirstLine: 101, LastLine: 345, Sample: []policy.Observation{
			{Time: noon.Add(-14 * time.Minute), Kind: policy.AuthFailure, Source: source, User: "alice", Service: "submission", Server: "postfix", Line: 101,
				Text: "Mar  1 11:46:00 mx postfix/submission/smtpd[71]: warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: , sasl_username=alice"},
			{Time: noon.Add(-12 * time.Minute), Kind: policy.AuthFailure, Source: source, User: "bob\x1b[2J", Service: "imap", Server: "dovecot", Line: 345},
		}},
	}, policy.Decision{
		Target: policy.Target{User: "bob@example.org"}, Action: policy.Limit, Rate: policy.Rate{Every: 10 * time.Second, Burst: 3},
		Since: noon.Add(-26 * time.Hour), Until: noon.Add(22 * time.Hour), Rule: "user-recipients", Reason: "1,200 recipients in 1h", Offence: 1,
		Evidence: policy.Evidence{Count: 900, FirstLine: 7, LastLine: 9000, Sample: []policy.Observation{
			{Time: noon.Add(-26 * time.Hour), Kind: policy.Message, Source: source, User: "bob@example.org", Service: "submission", Server: "postfix", Recipients: 40, Line: 9000},
		}},
	}, policy.Decision{
		Target: prefix("203.0.113.0/24"), Action: policy.Limit, Rate: policy.Rate{Every: 10 * time.Second, Burst: 10, Bytes: 64 << 10},
		Since: noon.Add(-72 * time.Hour), Reason: "bad neighbourhood", Pinned: true, By: "root",
	}, policy.Decision{
		Target: prefix("2001:db8::/64"), Action: policy.Drop, Since: noon.Add(-9 * time.Second), Until: noon.Add(24 * time.Hour), Rule: "source-users", Reason: "12 users tried in 1h", Offence: 1,
	}, policy.Decision{
		Target: prefix("2001:db8::/64"), Action: policy.Allow, Since: noon.Add(-30 * 24 * time.Hour), Reason: "our office", Pinned: true, By: "anna",
	})
	return b
}

// MailScene is Scene with users that have sent mail.
func MailScene(noon time.Time) *Backend {
	b := Scene(noon)
	free := noon.Add(37 * time.Minute)
	b.Put(policy.Decision{
		Target: policy.Target{User: "alice@example.org"}, Action: policy.Defer, Since: noon.Add(-time.Minute), Until: free, Rule: policy.QuotaRule,
		Reason: "298 recipients in 1h and 20 more, of 300",
	})
	b.SetMail(
		control.User{User: "alice@example.org", Quotas: []control.QuotaUse{
			{Of: "user", Measure: "recipients", Quota: "300/1h", Count: 300, Spent: 298, Free: nil},
			{Of: "user", Measure: "messages", Quota: "100/1d burst 10", Count: 100, Spent: 100, Free: &free},
			{Of: "group", Name: "sales\x1b", Measure: "recipients", Quota: "5000/1d", Count: 5000, Spent: 1234},
		}, Sources: []control.Familiar{
			{Source: "192.0.2.7", First: noon.Add(-20 * 24 * time.Hour), Last: noon.Add(-time.Minute), Known: true},
			{Source: "2001:db8:7::/64", First: noon.Add(-time.Hour), Last: noon.Add(-time.Hour)},
		}},
		control.User{User: "robot@example.org", Exempt: true},
	)
	return b
}
