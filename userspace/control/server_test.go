package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// mustServe runs a server over backend until the test ends and returns a
// client for it and the socket's path.
func mustServe(t testing.TB, backend control.Backend, change ...func(*control.Options)) (*control.Client, string) {
	t.Helper()
	o := testOptions(t)
	for _, c := range change {
		c(&o)
	}
	s, err := control.Listen(backend, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	client := control.NewClient(o.Socket, "1.0-test")
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if _, err := os.Lstat(o.Socket); err == nil {
			t.Error("the socket is still there")
		}
	})
	return client, o.Socket
}

func testOptions(t testing.TB) control.Options {
	o := control.DefaultOptions()
	o.Socket = filepath.Join(t.TempDir(), "s")
	o.Version = "1.0-test"
	o.Now = func() time.Time { return epoch }
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

func mustTarget(t testing.TB, s string) policy.Target {
	t.Helper()
	target, err := control.ParseTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// mustRows collects what the agent lists.
func mustRows(t testing.TB, c *control.Client, f control.Filter) (targets []string) {
	t.Helper()
	for row, err := range c.Decisions(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, row.Target())
	}
	return targets
}

func nothing(int) {}

func TestRoundTrips(t *testing.T) {
	b := &controltest.Backend{Dropped: 30, Health: control.Status{Mode: "enforce", Version: "1.0-test"}}
	b.Put(policy.Decision{
		Target: mustTarget(t, "203.0.113.9"), Action: policy.Drop, Since: epoch, Until: epoch.Add(time.Hour), Rule: "failures", Reason: "20 failures", Offence: 1,
		Evidence: policy.Evidence{Count: 20, FirstLine: 1, LastLine: 40, Sample: []policy.Observation{
			{Time: epoch, Kind: policy.AuthFailure, Source: netip.MustParseAddr("203.0.113.9"), User: "bob", Text: "a line"},
			{Time: epoch, Kind: policy.AuthFailure, User: "alice"},
		}},
	}, policy.Decision{Target: policy.Target{User: "bob"}, Action: policy.Limit, Rate: policy.Rate{Every: 10 * time.Second, Burst: 3}, Since: epoch, Until: epoch.Add(time.Hour), Rule: "recipients"})
	c, _ := mustServe(t, b)
	ctx := t.Context()

	p, err := c.Pin(ctx, control.Terms{Action: policy.Drop, For: "30d", Reason: "botnet"}, strings.NewReader("198.51.100.0/24\n\n# none\n2001:db8::1 # seen twice"), nothing)
	if err != nil || p.Done != 2 || !p.Final {
		t.Fatalf("pin: %+v, %v", p, err)
	}
	d, ok := b.Get(mustTarget(t, "2001:db8::/64"), true)
	if !ok || d.Reason != "seen twice" || !d.Until.Equal(epoch.Add(30*24*time.Hour)) || !d.Since.Equal(epoch) || d.By == "" || !d.Pinned {
		t.Errorf("pinned %+v", d)
	}

	yes := true
	for _, test := range []struct {
		filter control.Filter
		want   string
	}{
		{control.Filter{}, "bob 198.51.100.0/24 203.0.113.9 2001:db8::/64"},
		{control.Filter{Pinned: &yes}, "198.51.100.0/24 2001:db8::/64"},
		{control.Filter{Action: policy.Limit}, "bob"},
		{control.Filter{Rule: "failures"}, "203.0.113.9"},
		{control.Filter{Prefix: netip.MustParsePrefix("198.51.0.0/16")}, "198.51.100.0/24"},
		{control.Filter{Prefix: netip.MustParsePrefix("198.51.100.9/32")}, ""},
		{control.Filter{Begins: "20"}, "203.0.113.9 2001:db8::/64"},
	} {
		if got := strings.Join(mustRows(t, c, test.filter), " "); got != test.want {
			t.Errorf("list %+v: %q, want %q", test.filter, got, test.want)
		}
	}

	e, err := c.Explain(ctx, "203.0.113.9")
	if err != nil || e.Verdict != "drop" || !e.InForce || len(e.Decisions) != 1 || e.Decisions[0].Evidence.Sample[0].Text != "a line" || e.Decisions[0].Dropped != 30 {
		t.Errorf("explain: %+v, %v", e, err)
	}
	if _, err := c.Explain(ctx, "192.0.2.1"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("explain of the unknown: %v", err)
	}
	r, err := c.Release(ctx, "203.0.113.9", "a mistake")
	if err != nil || len(r.Released) != 1 {
		t.Errorf("release: %+v, %v", r, err)
	}
	if _, err := c.Release(ctx, "203.0.113.9", "a mistake"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("release again: %v", err)
	}
	p, err = c.Unpin(ctx, strings.NewReader("198.51.100.0/24\n192.0.2.1\n"), "over", nothing)
	if err != nil || p.Done != 1 || p.Missing != 1 || len(p.Sample) != 1 || p.Sample[0] != "192.0.2.1" {
		t.Errorf("unpin: %+v, %v", p, err)
	}
	if st, err := c.Status(ctx); err != nil || st.Mode != "enforce" {
		t.Errorf("status: %+v, %v", st, err)
	}
}

func TestRefusals(t *testing.T) {
	b := &controltest.Backend{}
	c, socket := mustServe(t, b)
	ctx := t.Context()
	for name, test := range map[string]struct {
		terms control.Terms
		list  string
		want  string
	}{
		"no action":     {control.Terms{}, "192.0.2.1", "unknown action"},
		"user action":   {control.Terms{Action: policy.Guard}, "192.0.2.1", "cannot be pinned to guard"},
		"rate of drop":  {control.Terms{Action: policy.Drop, Rate: "6/m"}, "192.0.2.1", "belong to action limit"},
		"bytes of drop": {control.Terms{Action: policy.Tarpit, Bytes: "64K/s"}, "192.0.2.1", "belong to action limit"},
		"no rate":       {control.Terms{Action: policy.Limit}, "192.0.2.1", "needs a rate"},
		"few bytes":     {control.Terms{Action: policy.Limit, Bytes: "1B/s"}, "192.0.2.1", "out of range"},
		"burst alone":   {control.Terms{Action: policy.Limit, Bytes: "64K/s", Burst: 3}, "192.0.2.1", "belongs to a rate"},
		"bad rate":      {control.Terms{Action: policy.Limit, Rate: "6"}, "192.0.2.1", "bad rate"},
		"bad burst":     {control.Terms{Action: policy.Limit, Rate: "6/m", Burst: -1}, "192.0.2.1", "bad burst"},
		"quota":         {control.Terms{Action: policy.Drop, Recipients: []string{"300/1h"}}, "192.0.2.1", "quotas are for users"},
		"bad time":      {control.Terms{Action: policy.Drop, For: "soon"}, "192.0.2.1", "soon"},
		"reason":        {control.Terms{Action: policy.Drop, Reason: "\x1b[2J"}, "192.0.2.1", "not printable"},
		"bad line":      {control.Terms{Action: policy.Drop}, "192.0.2.1\n\nnonsense\n192.0.2.2", "line 3: bad source \"nonsense\""},
		"comment":       {control.Terms{Action: policy.Drop}, "192.0.2.1 # \x1b]0;", "line 1: bad comment"},
		"line too long": {control.Terms{Action: policy.Drop}, "192.0.2.1\n#" + strings.Repeat("x", 200_000), "line 2: longer than"},
	} {
		if _, err := c.Pin(ctx, test.terms, strings.NewReader(test.list), nothing); !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if b.Len() != 0 {
		t.Errorf("%d pins stand after refusals", b.Len())
	}
	for path, want := range map[string]string{
		"/v1/decisions?acton=drop":        "unknown filter",
		"/v1/decisions?action=zap":        "unknown action",
		"/v1/decisions?pinned=perhaps":    "bad pinned",
		"/v1/decisions?prefix=bob":        "bad source",
		"/v1/explanation?target=":         "bad user",
		"/v1/explanation?target=300.1.1.": "bad source",
		"/v2/status":                      "has nothing at GET /v2/status",
	} {
		if status, body := mustGet(t, socket, path, ""); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %q", path, status, body, want)
		}
	}
	if status, body := mustGet(t, socket, "/v1/status", "99"); status != http.StatusUpgradeRequired || !strings.Contains(body, "speaks control protocol 99") {
		t.Errorf("a newer command: %d %s", status, body)
	}
}

// mustGet asks in plain HTTP, in another version of the protocol if told.
func mustGet(t testing.TB, socket, path, protocol string) (int, string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	header := ""
	if protocol != "" {
		header = "Weir-Protocol: " + protocol + "\r\n"
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: weir\r\n%s\r\n", path, header)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestBackendFailureKeepsWhatIsDone(t *testing.T) {
	b := &controltest.Backend{}
	c, _ := mustServe(t, &failAfter{Backend: b, chunks: 2})
	p, err := c.Pin(t.Context(), control.Terms{Action: policy.Drop}, manyLines(10*control.MaxChunk, ""), nothing)
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("error %v", err)
	}
	if p.Done != 2*control.MaxChunk || b.Len() != p.Done {
		t.Errorf("told %d pins stand, %d do", p.Done, b.Len())
	}
}

// TestFaultAfterTheChange is a change that is in force and cannot be stored:
// the log must not say that it was not made.
func TestFaultAfterTheChange(t *testing.T) {
	said := make(lines, 10)
	c, _ := mustServe(t, &failAfter{Backend: &controltest.Backend{}}, func(o *control.Options) {
		o.Logger = slog.New(slog.NewTextHandler(said, nil))
	})
	if _, err := c.Pin(t.Context(), control.Terms{Action: policy.Drop}, manyLines(1, ""), nothing); err == nil {
		t.Fatal("no error")
	}
	for line := range said {
		if !strings.Contains(line, "pinned") {
			continue
		}
		if !strings.Contains(line, "confirmed=0") || !strings.Contains(line, "disk full") || strings.Contains(line, "targets=") {
			t.Errorf("said: %s", line)
		}
		return
	}
}

// lines are what was written, a line each.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// failAfter fails to pin once chunks of them stand.
type failAfter struct {
	*controltest.Backend
	chunks int
}

func (f *failAfter) Pin(ctx context.Context, pins []policy.Decision) error {
	if f.chunks == 0 {
		return errors.New("write decisions: disk full")
	}
	f.chunks--
	return f.Backend.Pin(ctx, pins)
}

// manyLines makes n lines of a pin list as they are read.
func manyLines(n int, comment string) io.Reader {
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 1<<16)
		for i := range n {
			fmt.Fprintf(out, "10.%d.%d.%d%s\n", i>>16&255, i>>8&255, i&255, comment)
		}
		w.CloseWithError(out.Flush())
	}()
	return r
}

// Setting quotas for a user: what is read, and what is refused.
func TestUserQuotaTerms(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		terms control.Terms
		want  string // the quota, or a part of the error
	}{
		{control.Terms{Recipients: []string{"300/1h", "1000/1d burst 50"}, For: "1d"}, "300/1h recipients, 1000/1d burst 50 recipients"},
		{control.Terms{Action: policy.OwnQuota, Recipients: []string{"any"}, Messages: []string{"5/1m"}}, "any recipients, 5/1m messages"},
		{control.Terms{Action: policy.Allow, Messages: []string{"5/1m"}}, "action allow holds in place of quotas"},
		{control.Terms{Action: policy.OwnQuota}, "say how much"},
		{control.Terms{Recipients: []string{"300"}}, "bad quota"},
		{control.Terms{Recipients: []string{"any", "300/1h"}}, "bad quota"},
		{control.Terms{Recipients: []string{"300/1h", "400/60m"}}, "two quotas for the same time"},
		{control.Terms{Recipients: []string{"300/1h"}, Rate: "6/m"}, "rate"},
		{control.Terms{}, "say what to do"},
	} {
		d, err := test.terms.UserDecision("alice", now, "root")
		if err != nil {
			if !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: %v", test.terms, err)
			}
		} else if d.Action != policy.OwnQuota || !d.Pinned || d.User != "alice" || d.Quota.String() != test.want {
			t.Errorf("%+v: %+v, quota %v", test.terms, d, d.Quota)
		}
	}
}
