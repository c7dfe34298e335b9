package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"weir/policy"
	"weir/tests/peers"
	"weir/tests/scenarios"
)

// peer is another program that judges logs, under its default policy.
type peer struct {
	name    string
	missing string
	recipe  string // how it is asked; another asking may bring another answer
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
	fail2ban := &peer{name: "fail2ban", recipe: peers.Fail2banRecipe}
	fail2ban.edit = func(line []byte) []byte { return eximStamp.ReplaceAll(line, []byte("$1")) }
	fail2ban.decide = func(ctx context.Context, _, log string, out *bytes.Buffer) error {
		return peers.Fail2ban(ctx, packages, []string{"postfix", "postfix-sasl", "dovecot", "exim"}, log, out)
	}
	crowdsec := &peer{name: "CrowdSec", recipe: peers.CrowdSecRecipe}
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
		list, err := p.decisions(ctx, folder, logs[i].Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		scores = append(scores, truth.Judge(list))
	}
	return scores, nil
}

// decisions are what the peer decides on a log. They take minutes, and the same
// log leads to the same ones: they are kept below the user's cache folder.
func (p *peer) decisions(ctx context.Context, folder string, log []byte) ([]policy.Decision, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = folder
	}
	cache = filepath.Join(cache, "weir-bench", "decisions")
	key := sha256.New()
	fmt.Fprintf(key, "%s\x00%s\x00%s", p.column.Name, p.recipe, log)
	kept := filepath.Join(cache, fmt.Sprintf("%x.jsonl", key.Sum(nil)))
	text, err := os.ReadFile(kept)
	if err != nil {
		path := filepath.Join(folder, p.name+".log")
		if err := os.WriteFile(path, log, 0o600); err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if err := p.decide(ctx, filepath.Join(folder, p.name), path, &out); err != nil {
			return nil, err
		}
		text = out.Bytes()
		if err := errors.Join(os.MkdirAll(cache, 0o700), os.WriteFile(kept, text, 0o600)); err != nil {
			return nil, err
		}
	}
	return scenarios.ReadDecisions(bytes.NewReader(text))
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
