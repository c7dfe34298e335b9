package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/tests/lab"
)

const (
	crowd    = 10_000
	crowders = 16 // that open its connections
	dovecot  = "a key that is long enough"
)

// TestCrowd has ten thousand connections opened to each of weir's sockets, with
// nothing sent over them, garbage, or half of a request. Beside them, commands
// and mail servers are answered, and file descriptors are bounded.
func TestCrowd(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < crowd+1000 {
		t.Skipf("SKIPPED: %d connections need as many file descriptors (ulimit -Hn %d, %v)", crowd, limit.Max, err)
	}
	s := mustStage(t, rules+`
[postfix_policy]
listen = ["unix:LAB/policy.sock"]
[dovecot_policy]
listen = ["unix:LAB/dovecot.sock"]
api_key_file = "LAB/dovecot.key"
`)
	if err := os.WriteFile(s.lab.Path("dovecot.key"), []byte(dovecot+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	s.mustPin(pinned4)
	probe := s.mustProbe(pinned4)
	for _, server := range []struct {
		name, socket string
		bound        int // of its connections at once
		sent         []string
		ask          func() error
	}{
		{"control", "control.sock", 64, []string{
			"", "\x00\xff garbage\r\n\r\n", "GET /v1/sta", "GET /v1/status HTTP/1.1\r\nHost: w\r\n\r\n",
			"POST /v1/pins HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n{\"action\":\"drop\"}\n203.0.113.1",
			"GET /v1/decisions HTTP/1.1\r\nHost: w\r\n\r\n",
		}, func() error { _, err := s.weir.Run(t.Context(), "status"); return err }},
		{"postfix_policy", "policy.sock", 16_384, []string{"", "garbage\n\n", "request=smtpd_access_policy\nsasl_username=", "request=smtpd_access_policy\nsasl_username=x\n\n"}, s.askPostfix},
		{"dovecot_policy", "dovecot.sock", 4096, []string{
			"", "\x16\x03\x01 garbage\r\n\r\n", "POST /?com", "POST /?command=allow HTTP/1.1\r\nHost: w\r\nX-API-Key: " + dovecot + "\r\nContent-Length: 100\r\n\r\n{",
		}, s.askDovecot},
	} {
		t.Run(server.name, func(t *testing.T) {
			c := &crowding{path: s.lab.Path(server.socket), sent: server.sent}
			defer c.leave()
			before := s.descriptors()
			c.come()
			var waits []time.Duration
			most := 0
			asking := func() {
				begun := time.Now()
				if err := server.ask(); err != nil {
					t.Errorf("asked beside %d connections: %v", c.count(), err)
				}
				waits = append(waits, time.Since(begun))
				most = max(most, s.descriptors())
			}
			for !c.complete() {
				asking()
			}
			for range 10 { // and while they hang
				asking()
			}
			if most > before+server.bound+100 {
				t.Errorf("%d file descriptors were open, %d before", most, before)
			}
			if c.count() != crowd {
				t.Errorf("%d connections came: %v", c.count(), c.err)
			}
			slices.Sort(waits)
			t.Logf("%d connections came; asked %d times beside them: median %v, slowest %v; %d descriptors at most",
				c.count(), len(waits), waits[len(waits)/2].Round(time.Millisecond), waits[len(waits)-1].Round(time.Millisecond), most)
		})
	}
	if n := s.mustKnock(probe, 100); n != 0 {
		t.Errorf("%d packets got through", n)
	}
	pins, _, err := listed(t.Context(), s.client)
	if err != nil || len(pins) != 1 {
		t.Errorf("half a request has pinned something: %v, %v", pins, err)
	}
}

// descriptors counts the agent's open files.
func (s *stage) descriptors() int {
	s.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.weir.PID()))
	if err != nil {
		s.Fatal(err)
	}
	return len(all)
}

// crowding is a crowd of connections that are kept open.
type crowding struct {
	path string
	sent []string

	mu   sync.Mutex
	open []net.Conn
	came int
	err  error
	done sync.WaitGroup
	over chan struct{}
}

// come opens the connections, and returns at once.
func (c *crowding) come() {
	c.over = make(chan struct{})
	for n := range crowders {
		c.done.Go(func() {
			for i := n; i < crowd; i += crowders {
				conn, err := dialPatiently(c.path)
				if err != nil {
					c.fail(err)
					return
				}
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = io.WriteString(conn, c.sent[i%len(c.sent)]) // it may be turned away already
				c.mu.Lock()
				c.open = append(c.open, conn)
				c.came++
				c.mu.Unlock()
			}
		})
	}
	go func() { c.done.Wait(); close(c.over) }()
}

func (c *crowding) complete() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

func (c *crowding) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *crowding) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came
}

func (c *crowding) leave() {
	<-c.over
	for _, conn := range c.open {
		_ = conn.Close()
	}
}

// dialPatiently tries again while the kernel's queue of connections is full.
func dialPatiently(path string) (net.Conn, error) {
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if !errors.Is(err, unix.EAGAIN) || time.Since(begun) > lab.Patience {
			return conn, err
		}
	}
}

// askPostfix asks one policy request on a connection of its own.
func (s *stage) askPostfix() error {
	conn, err := dialPatiently(s.lab.Path("policy.sock"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(lab.Patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "request=smtpd_access_policy\nprotocol_state=DATA\nclient_address=203.0.113.10\nsasl_username=alice\n\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, "action=") {
		err = fmt.Errorf("answered %q", answer)
	}
	return err
}

// askDovecot asks whether a login may go on, on a connection of its own.
func (s *stage) askDovecot() error {
	client := http.Client{Timeout: lab.Patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return dialPatiently(s.lab.Path("dovecot.sock"))
	}}}
	body := []byte(`{"device_id":"","login":"alice","protocol":"imap","pwhash":"0a1b","remote":"203.0.113.10","tls":true,"attrs":{}}`)
	r, err := http.NewRequest(http.MethodPost, "http://w/?command=allow", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-API-Key", dovecot)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	return nil
}
