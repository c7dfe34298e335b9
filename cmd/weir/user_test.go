package main

import (
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

func TestGoldenUser(t *testing.T) {
	b := controltest.Scene(noon)
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
	s := mustStage(t, b)
	s.golden(t, "user",
		[]string{"user", "list"},
		[]string{"user", "list", "-o", "json"},
		[]string{"user", "show", "alice@example.org"},
		[]string{"user", "show", "Robot@example.org"},
		[]string{"user", "show", "bob@example.org"},
		[]string{"user", "show", "robot@example.org", "-o", "json"},
		[]string{"user", "set", "Carol@example.org", "--action", "limit", "--rate", "100/h", "--burst", "20", "--for", "1d"},
		[]string{"explain", "carol@example.org"},
		[]string{"user", "set", "dave@example.org", "--action", "guard"},
		[]string{"user", "set", "dave@example.org", "--action", "drop"},
		[]string{"user", "set", "dave@example.org", "--action", "limit"},
		[]string{"user", "set", "dave@example.org"},
		[]string{"user", "reset", "alice@example.org"},
		[]string{"user", "reset", "carol@example.org"},
		[]string{"user", "reset", "bob@example.org"},
		[]string{"user", "show"},
		[]string{"user", "shw"},
	)
	s = mustStage(t, &controltest.Backend{})
	s.golden(t, "user-empty", []string{"user", "list"}, []string{"user", "list", "-o", "json"})
}

func TestGoldenStatusPolicy(t *testing.T) {
	b := &controltest.Backend{Health: control.Status{Version: "1.0-test", Mode: "enforce", Store: control.Store{Path: "x"}, PostfixPolicy: &control.PolicyServer{
		Messages: 12345, OverQuota: 12, Limited: 3, Deferred: 4, Strangers: 5, Lost: 6,
		Listeners: []control.PolicyListener{
			{Address: "unix:/run/weir/policy.sock", Open: 17, Connections: 900, Requests: 45678, Malformed: 1, Oversized: 2, Late: 3, Refused: 4},
			{Address: "tcp:127.0.0.1:10031", Error: "address already in use"},
		},
	}}}
	s := mustStage(t, b)
	s.golden(t, "status-policy", []string{"status"})
}
