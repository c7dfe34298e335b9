package main

import (
	"testing"

	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

func TestGoldenUser(t *testing.T) {
	s := mustStage(t, controltest.MailScene(noon))
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
		[]string{"user", "set", "alice@example.org", "--recipients", "300/1h", "--recipients", "1000/1d burst 100", "--messages", "any", "--for", "1d", "--reason", "moving house"},
		[]string{"user", "show", "alice@example.org"},
		[]string{"user", "set", "erin@example.org", "--messages", "20/1h"},
		[]string{"user", "show", "erin@example.org"},
		[]string{"explain", "erin@example.org"},
		[]string{"list", "--action", "quota"},
		[]string{"user", "set", "erin@example.org", "--messages", "20 an hour"},
		[]string{"user", "set", "erin@example.org", "--action", "allow", "--messages", "20/1h"},
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
