package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"weir/tests/peers"
	"weir/tests/scenarios"
)

// peer is another program that judges logs, under its default policy.
type peer struct {
	name    string
	missing string
	column  scenarios.Column
	decide  func(ctx context.Context, folder, log string, out *bytes.Buffer) error
	edit    func(line []byte) []byte // brings a line into the form that it knows
}

var (
	eximStamp     = regexp.MustCompile(`( exim\[\d+\]: )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d `)
	eximInterface = regexp.MustCompile(` I=\[[^\]]*\]:\d+`)
)

// newPeers returns those whose packages are unpacked in a folder. Exim's lines
// are given to each in the form that it knows.
func newPeers(packages string) []*peer {
	fail2ban := &peer{name: "fail2ban"}
	fail2ban.edit = func(line []byte) []byte { return eximStamp.ReplaceAll(line, []byte("$1")) }
	fail2ban.decide = func(ctx context.Context, _, log string, out *bytes.Buffer) error {
		return peers.Fail2ban(ctx, packages, []string{"postfix", "postfix-sasl", "dovecot", "exim"}, log, out)
	}
	crowdsec := &peer{name: "CrowdSec"}
	crowdsec.edit = func(line []byte) []byte {
		line = eximInterface.ReplaceAll(line, nil)
		return bytes.Replace(line, []byte(" plain_server authenticator"), []byte(" dovecot_plain authenticator"), 1)
	}
	crowdsec.decide = func(ctx context.Context, folder, log string, out *bytes.Buffer) error {
		c, err := peers.NewCrowdSec(packages, folder)
		if err != nil {
			return err
		}
		return c.Decide(ctx, log, out)
	}
	list := []*peer{fail2ban, crowdsec}
	for i, name := range []string{"fail2ban", "crowdsec"} {
		p := list[i]
		var version string
		version, p.missing = peers.Version(packages, name)
		p.column = scenarios.Column{Name: p.name + " " + version, Missing: p.missing}
	}
	return list
}

// judge has the peers read a scenario's log, one after the other, and scores
// what they decide.
func judge(ctx context.Context, s *scenarios.Scenario, list []*peer) (scores []*scenarios.Score, err error) {
	folder, err := os.MkdirTemp("", "weir-scenarios-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	logs := make([]bytes.Buffer, len(list))
	truth, err := s.Truth(func(line []byte) {
		if !ofInterest(line) {
			return
		}
		for i, p := range list {
			logs[i].Write(p.edit(line))
			logs[i].WriteByte('\n')
		}
	})
	if err != nil {
		return nil, err
	}
	for i, p := range list {
		say("seed %d: %s", s.Options.Seed, p.column.Name)
		log := filepath.Join(folder, p.name+".log")
		if err := os.WriteFile(log, logs[i].Bytes(), 0o600); err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if err := p.decide(ctx, filepath.Join(folder, p.name), log, &out); err != nil {
			return nil, err
		}
		decisions, err := scenarios.ReadDecisions(&out)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		scores = append(scores, truth.Judge(decisions))
	}
	return scores, nil
}

// ofInterest reports whether a filter or parser of theirs can match a line. The
// others, nine of ten, would only cost time.
func ofInterest(line []byte) bool {
	for _, word := range []string{
		"SASL", "reject", "too many errors", "improper command", "auth failed", "nknown user", "assword mismatch",
		"authenticator failed", "lost connection", "no MAIL", "no auth attempts",
	} {
		if bytes.Contains(line, []byte(word)) {
			return true
		}
	}
	return false
}
