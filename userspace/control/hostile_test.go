package control_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

func TestSocketTaken(t *testing.T) {
	b := &controltest.Backend{}
	_, socket := mustServe(t, b)
	o := testOptions(t)
	o.Socket = socket
	if _, err := control.Listen(b, o); !errors.Is(err, control.ErrInUse) {
		t.Errorf("second server: %v", err)
	}

	o = testOptions(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	c := control.NewClient(o.Socket, "")
	if _, err := c.Status(t.Context()); !errors.Is(err, control.ErrNotRunning) || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("dead socket: %v", err)
	}
	s, err := control.Listen(b, o)
	if err != nil {
		t.Fatalf("over a dead socket: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, control.ErrNotRunning) || !strings.Contains(err.Error(), "systemctl start weir") {
		t.Errorf("no socket: %v", err)
	}

	if err := os.WriteFile(o.Socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(b, o); err == nil || !strings.Contains(err.Error(), "something else is there") {
		t.Errorf("over a file: %v", err)
	}
	o.Socket = "/" + strings.Repeat("x", 110)
	if _, err := control.Listen(b, o); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("long path: %v", err)
	}
}

func TestSilentAgent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := control.NewClient(socket, "")
	if _, err := c.Status(ctx); !errors.Is(err, control.ErrNotRunning) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("silent agent: %v", err)
	}
}

func TestNotWeir(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"another server": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "is not weir"},
		"newer agent":    {"HTTP/1.1 200 OK\r\nWeir-Protocol: 7\r\nWeir-Version: 9.9\r\nContent-Length: 2\r\n\r\n{}", "the agent is weir 9.9 and speaks control protocol 7, this command is weir 1.0"},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err == nil {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, test.answer)
				_ = conn.Close()
			}
		}()
		if _, err := control.NewClient(socket, "1.0").Status(t.Context()); !errors.Is(err, control.ErrProtocol) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		_ = l.Close()
	}
}

// TestHostileClients keeps a server busy with clients that hang at every
// stage and send garbage, and sees that it frees itself of them.
func TestHostileClients(t *testing.T) {
	const slots = 8
	b := &controltest.Backend{}
	c, socket := mustServe(t, endless{b}, func(o *control.Options) {
		o.MaxClients, o.Patience, o.Linger = slots, time.Second, time.Second
	})
	for _, garbage := range []string{"\x00\xff\x16\x03\x01", "GET", "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 100_000), "POST /v1/pins HTTP/1.1\r\nHost: w\r\nContent-Length: 99999999999\r\n\r\n", "\r\n\r\n\r\n",
		"POST /v1/pins HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"} {
		conn := mustDial(t, socket)
		_, _ = io.WriteString(conn, garbage) // it may be cut off
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	stages := []string{
		"",
		"GET /v1/status HTTP/1.1\r\n",
		"POST /v1/pins HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n",
		"POST /v1/pins HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n{\"action\":\"drop\"}\n192.0.2.1\n",
		"GET /v1/decisions HTTP/1.1\r\nHost: w\r\n\r\n", // endless, and not read
	}
	var hanging []net.Conn
	for i := range slots {
		conn := mustDial(t, socket)
		if _, err := io.WriteString(conn, stages[i%len(stages)]); err != nil {
			t.Fatal(err)
		}
		hanging = append(hanging, conn)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("while full: %v", err)
	}
	for i, conn := range hanging {
		if !strings.Contains(stages[i%len(stages)], "decisions") {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("client %d was not cut off", i)
			}
		}
		_ = conn.Close()
	}
	if b.Len() != 0 {
		t.Errorf("half a request pinned %d", b.Len())
	}
}

// endless lists without an end.
type endless struct{ *controltest.Backend }

func (endless) Decisions(ctx context.Context, _ control.Filter) iter.Seq2[control.Row, error] {
	return func(yield func(control.Row, error) bool) {
		for ctx.Err() == nil && yield(control.Row{Source: "192.0.2.1", Action: policy.Drop}, nil) {
		}
	}
}

func mustDial(t testing.TB, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestStopsEarly lists without an end and stops after a few rows.
func TestStopsEarly(t *testing.T) {
	c, _ := mustServe(t, endless{&controltest.Backend{}})
	rows := 0
	for _, err := range c.Decisions(t.Context(), control.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if rows++; rows == 10 {
			break
		}
	}
}
