// Package faults shows what becomes of a mail host when something breaks under
// weir: its agent is killed again and again, its memory, its disk, its clients.
// Each test is a row of docs/reliability.md. There are no mail servers; their
// lines are written by the tests.
package faults

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/tests/lab"
	"weir/userspace/control"
)

var rounds = flag.Int("rounds", 500, "how often TestKilled kills the agent")

// built is weir, built once by TestMain.
var built string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // mustHost says why nothing runs
	}
	dir, err := os.MkdirTemp("", "weir-faults-")
	if err == nil {
		defer os.RemoveAll(dir)
		built = filepath.Join(dir, "weir")
		err = lab.Build(context.Background(), built)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// rules flag a source at its fifth failure.
const rules = `
[[rule]]
name = "guessing"
events = ["auth_failure"]
per = "source"
measure = "events"
threshold = 5
within = "10m"
action = "drop"
for = "6h"
`

var (
	pinned4  = netip.MustParseAddr("198.51.100.66")
	flagged4 = netip.MustParseAddr("198.51.100.67")
	pinned6  = netip.MustParseAddr("2001:db8:bad1:66::1")
	free4    = netip.MustParseAddr("203.0.113.10")
)

// host is a mail host whose agent enforces.
type host struct {
	*testing.T
	lab     *lab.Lab
	weir    *lab.Weir
	client  *control.Client
	written int // lines of the log
}

func mustHost(t *testing.T, more string) *host {
	t.Helper()
	return mustHostOn(t, more, nil)
}

// mustHostOn is mustHost after something was made ready in the lab.
func mustHostOn(t *testing.T, more string, ready func(*testing.T, *lab.Lab)) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("must run as root")
		}
		t.Skip("SKIPPED, nothing was tested: only root makes network namespaces")
	}
	l, err := lab.New(t.Context(), lab.Options{Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out := l.Output("weir")
			t.Logf("weir wrote last:\n%s", out[max(0, len(out)-8<<10):])
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if ready != nil {
		ready(t, l)
	}
	h := &host{T: t, lab: l}
	if h.weir, err = l.Weir(built, "enforce", more+rules); err != nil {
		t.Fatal(err)
	}
	h.mustStart()
	h.client = control.NewClient(l.Path("control.sock"), "")
	t.Cleanup(h.client.Close)
	return h
}

func (h *host) mustStart() {
	h.Helper()
	if err := h.weir.Start(h.Context()); err != nil {
		h.Fatal(err)
	}
}

func (h *host) must(args ...string) string {
	h.Helper()
	out, err := h.weir.Run(h.Context(), args...)
	if err != nil {
		h.Fatal(err)
	}
	return out
}

func (h *host) mustStatus() *lab.Status {
	h.Helper()
	s, err := h.weir.Status(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func (h *host) mustPoll(what string, ready func() bool) {
	h.Helper()
	if err := lab.Poll(h.Context(), lab.Patience, what, ready); err != nil {
		h.Fatal(err)
	}
}

// rows returns what is listed, by source or user.
func (h *host) rows(f control.Filter) (map[string]control.Row, error) {
	rows := map[string]control.Row{}
	for row, err := range h.client.Decisions(h.Context(), f) {
		if err != nil {
			return nil, err
		}
		rows[row.Target()] = row
	}
	return rows, nil
}

// fail writes lines that tell of failed logins.
func (h *host) fail(from string, times int) {
	h.Helper()
	var text []byte
	for range times {
		text = fmt.Appendf(text, "%s mx postfix/submission/smtpd[712]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n",
			time.Now().Format(time.RFC3339Nano), from)
	}
	f, err := os.OpenFile(h.lab.MailLog(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		h.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		h.Fatal(err)
	}
	if err := f.Close(); err != nil {
		h.Fatal(err)
	}
	h.written += times
}

// knock sends a packet a millisecond from a source until the test ends, none of
// which may get through.
func (h *host) knock(from netip.Addr) *lab.Probe {
	h.Helper()
	p, err := h.lab.Probe(from, 587, time.Millisecond)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := p.Stop(); err != nil {
			h.Error(err)
		}
		if p.Through() > 0 || p.Sent() == 0 {
			h.Errorf("%s: of %d packets %d got through", from, p.Sent(), p.Through())
		}
		h.Logf("%s: %d packets, %d got through", from, p.Sent(), p.Through())
	})
	return p
}

// blocked has two sources pinned and one flagged, and knocks from them.
func (h *host) blocked() {
	h.Helper()
	h.must("pin", pinned4.String(), "--action", "drop", "--reason", "kept")
	h.must("pin", pinned6.String(), "--action", "tarpit")
	h.fail(flagged4.String(), 5)
	h.mustPoll("the flag", func() bool {
		_, found, err := h.weir.Find(h.Context(), flagged4.String())
		return err == nil && found
	})
	h.knock(pinned4)
	h.knock(pinned6)
	h.knock(flagged4)
}
