// Package faults pulls plugs: it runs weir's binary and its real kernel
// programs in network namespaces, breaks what they stand on, and looks whether
// anything was lost, invented or let through. See package lab for the stage;
// docs/reliability.md says what each test shows.
package faults

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/tests/lab"
	"weir/tests/lab/labtest"
	"weir/userspace/control"
)

// built is weir, built once by TestMain.
var built string

func TestMain(m *testing.M) { os.Exit(labtest.Main(m, &built)) }

// rules flag a source at its third wrong password.
const rules = `
[[rule]]
name = "guessing"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 3
within = "1h"
action = "drop"
for = "4h"
`

// Who is who in the world.
var (
	pinned4  = netip.MustParseAddr("198.51.100.66")
	pinned6  = netip.MustParseAddr("2001:db8:bad1:66::1")
	guesser4 = netip.MustParseAddr("203.0.113.66")
	good4    = netip.MustParseAddr("203.0.113.10")
)

// stage is a lab without mail servers, and weir in mode enforce on it.
type stage struct {
	*testing.T
	lab    *lab.Lab
	weir   *lab.Weir
	client *control.Client
}

// mustStage starts a lab and prepares weir; LAB/ in more stands for the lab's
// folder.
func mustStage(t *testing.T, more string) *stage {
	t.Helper()
	l := labtest.New(t, lab.Options{Bare: true})
	s := &stage{T: t, lab: l, weir: labtest.Weir(t, l, built, "enforce", more), client: control.NewClient(l.Path("control.sock"), "faults")}
	t.Cleanup(s.client.Close)
	return s
}

// mustRun is mustStage with the agent running.
func mustRun(t *testing.T, more string) *stage {
	t.Helper()
	s := mustStage(t, more)
	s.mustStart()
	return s
}

func (s *stage) mustStart() {
	s.Helper()
	labtest.Start(s.T, s.weir)
}

func (s *stage) mustKill() {
	s.Helper()
	if err := s.weir.Kill(); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) mustStatus() *control.Status {
	s.Helper()
	status, err := s.client.Status(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return status
}

func (s *stage) mustPoll(limit time.Duration, what string, ready func() bool) {
	s.Helper()
	labtest.Poll(s.T, limit, what, ready)
}

// mustPin pins addresses to drop.
func (s *stage) mustPin(all ...netip.Addr) {
	s.Helper()
	for _, a := range all {
		if err := pin(s.Context(), s.client, lab.SourceText(a), "a test"); err != nil {
			s.Fatal(err)
		}
	}
}

func pin(ctx context.Context, c *control.Client, target, reason string) error {
	_, err := c.Pin(ctx, control.Terms{Action: policy.Drop, Reason: reason}, strings.NewReader(target+"\n"), func(int) {})
	return err
}

func unpin(ctx context.Context, c *control.Client, target string) error {
	_, err := c.Unpin(ctx, strings.NewReader(target+"\n"), "", func(int) {})
	return err
}

// mustProbe knocks every millisecond.
func (s *stage) mustProbe(from netip.Addr) *lab.Probe {
	s.Helper()
	p, err := s.lab.Probe(from, 587, time.Millisecond)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := p.Stop(); err != nil {
			s.Errorf("probe of %s: %v", from, err)
		}
	})
	return p
}

// mustKnock waits until a probe has sent more, and returns how many of its
// packets have got through so far.
func (s *stage) mustKnock(p *lab.Probe, more uint64) uint64 {
	s.Helper()
	begun := p.Sent()
	s.mustPoll(lab.Patience, "probes", func() bool { return p.Sent() >= begun+more })
	return p.Through()
}

// mustLog writes to the mail log.
func (s *stage) mustLog(text string) {
	s.Helper()
	f, err := os.OpenFile(s.lab.MailLog(), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		s.Fatal(err)
	}
}

// failure is the line that Postfix writes of a wrong password.
func failure(from netip.Addr) string {
	return fmt.Sprintf("%s mx postfix/submission/smtpd[712]: warning: unknown[%s]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=carol\n",
		time.Now().UTC().Format("2006-01-02T15:04:05.000000+00:00"), from)
}

// listed returns what stands, by target; a pin and a decision on one target
// are two rows.
func listed(ctx context.Context, c *control.Client) (pins, decisions map[string]control.Row, err error) {
	pins, decisions = map[string]control.Row{}, map[string]control.Row{}
	for row, err := range c.Decisions(ctx, control.Filter{}) {
		if err != nil {
			return nil, nil, err
		}
		to := decisions
		if row.Pinned {
			to = pins
		}
		to[row.Source+row.User] = row
	}
	return pins, decisions, nil
}
