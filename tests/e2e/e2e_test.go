// Package e2e shows weir's promises on a real mail host: Postfix and Dovecot
// in a network namespace, weir's binary on its interface, attackers and a
// good user outside. See package lab for the stage.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
	"weir/tests/lab/labtest"
)

// built is weir, and upgraded is weir from another file; built once by
// TestMain.
var built, upgraded string

func TestMain(m *testing.M) { os.Exit(labtest.Main(m, &built, &upgraded)) }

// rules that fire after few attempts.
const rules = `
[[rule]]
name = "guessing"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 5
within = "10m"
action = "drop"
for = "1h"

[[rule]]
name = "stolen"
events = ["auth_success", "message"]
per = "user"
measure = "sources"
threshold = 6
within = "1h"
action = "drop"
for = "1h"
`

// Who is who in the world.
var (
	good4     = netip.MustParseAddr("203.0.113.10")
	good6     = netip.MustParseAddr("2001:db8:900d::10")
	attacker4 = netip.MustParseAddr("198.51.100.66")
	attacker6 = netip.MustParseAddr("2001:db8:bad1:66::1")
	other4    = netip.MustParseAddr("198.51.100.67")
	other6    = netip.MustParseAddr("2001:db8:bad1:67::1")
)

// stage is a lab with weir on its mail host.
type stage struct {
	*testing.T
	lab     *lab.Lab
	weir    *lab.Weir
	skipped uint64 // lines of the log that were there when weir came
}

// mustStage starts a lab and, in it, weir with a mode and more configuration.
func mustStage(t *testing.T, mode, more string) *stage {
	t.Helper()
	return mustStageWith(t, lab.Options{}, mode, more)
}

// mustStageWith is mustStage in a lab of one's own.
func mustStageWith(t *testing.T, options lab.Options, mode, more string) *stage {
	t.Helper()
	return mustStageFor(t, options, mode, func(*lab.Lab) string { return more })
}

// mustStageFor is mustStageWith where the configuration depends on the lab.
func mustStageFor(t *testing.T, options lab.Options, mode string, more func(*lab.Lab) string) *stage {
	t.Helper()
	options.Users = []string{"alice", "bob"}
	l := labtest.New(t, options)
	s := &stage{T: t, lab: l, weir: labtest.Weir(t, l, built, mode, more(l))}
	// The servers have been asked whether they answer; when they have logged
	// the end of that, they are quiet.
	s.mustPoll(lab.Patience, "the servers to be quiet", func() bool {
		log, _ := os.ReadFile(l.MailLog())
		return options.Bare || bytes.Contains(log, []byte("Disconnected")) && bytes.Contains(log, []byte("disconnect from"))
	})
	s.skipped = s.logLines()
	s.mustStart()
	return s
}

// logLines counts the lines of the mail log.
func (s *stage) logLines() uint64 {
	s.Helper()
	log, err := os.ReadFile(s.lab.MailLog())
	if err != nil {
		s.Fatal(err)
	}
	return uint64(bytes.Count(log, []byte("\n")))
}

func (s *stage) mustStart() {
	s.Helper()
	labtest.Start(s.T, s.weir)
}

// must runs a command of weir that has to succeed.
func (s *stage) must(args ...string) string {
	s.Helper()
	out, err := s.weir.Run(s.Context(), args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

func (s *stage) mustList(args ...string) []lab.Row {
	s.Helper()
	rows, err := s.weir.List(s.Context(), args...)
	if err != nil {
		s.Fatal(err)
	}
	return rows
}

func (s *stage) mustRow(source string) lab.Row {
	s.Helper()
	row, found, err := s.weir.Find(s.Context(), source)
	if err != nil || !found {
		s.Fatalf("%s is not listed (%v); listed: %+v", source, err, s.mustList())
	}
	return row
}

func (s *stage) mustStatus() *lab.Status {
	s.Helper()
	status, err := s.weir.Status(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return status
}

// mustPoll waits for a condition of the real world.
func (s *stage) mustPoll(limit time.Duration, what string, ready func() bool) {
	s.Helper()
	labtest.Poll(s.T, limit, what, ready)
}

// wantReachable tells whether a client gets through to submission; a
// connection that is dropped costs a second.
func (s *stage) wantReachable(want bool, from netip.Addr) {
	s.Helper()
	if got := s.lab.Reachable(s.Context(), from, 587); got != want {
		s.Errorf("%s reaches submission: %t, want %t", from, got, want)
	}
}

// mustContain wants every word in a command's output.
func (s *stage) mustContain(out string, words ...string) {
	s.Helper()
	for _, word := range words {
		if !strings.Contains(out, word) {
			s.Errorf("%q is not in:\n%s", word, out)
		}
	}
}

// guess lets a source fail to log in until it is dropped: new connections
// time out, and weir lists it. It returns the number of attempts that the
// server answered.
func (s *stage) guess(from func(n int) netip.Addr) int {
	s.Helper()
	answered := 0
	for n := 0; n < 60; n++ {
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		session, err := s.lab.Submission(ctx, from(n), 465)
		cancel()
		if err != nil {
			if _, listed, err := s.weir.Find(s.Context(), lab.SourceText(from(n))); err != nil || listed {
				return answered
			}
			continue // the machine is busy
		}
		answered++
		err = session.Auth("alice", fmt.Sprintf("guess %d", n))
		session.Close()
		if err == nil {
			s.Fatal("a guess was right")
		}
	}
	s.Fatalf("%s was still served after 60 wrong passwords", from(0))
	return 0
}

func fixed(addr netip.Addr) func(int) netip.Addr {
	return func(int) netip.Addr { return addr }
}
