package faults

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// garbage is what clients send that are none.
var garbage = []string{
	"",
	"\x00\xff\x16\x03\x01\x02\x00",
	"GET /v1/status HTTP/1.1\r\n",
	"POST /v1/pins HTTP/1.1\r\nHost: w\r\nContent-Length: 1000000\r\n\r\n{\"action\":\"drop\"}\n192.0.2.1\n",
	"request=smtpd_access_policy\nprotocol_state=RCPT\n",
	strings.Repeat("x", 100_000),
}

// TestManyClients has 10,000 connections opened at each socket of the agent, by
// clients that hang, send garbage, or half of something. Beside them it answers
// commands, reads the log and flags, with a bounded number of open files.
func TestManyClients(t *testing.T) {
	const connections = 10_000
	h := mustHost(t, `
[postfix_policy]
listen = ["unix:LAB/policy.sock"]
[dovecot_policy]
listen = ["unix:LAB/dovecot.sock"]
api_key_file = "LAB/key"
`)
	if err := os.WriteFile(h.lab.Path("key"), []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.blocked()
	if err := h.weir.Signal(syscall.SIGHUP); err != nil { // now there is a key
		t.Fatal(err)
	}
	h.mustPoll("the socket for Dovecot", func() bool { _, err := os.Stat(h.lab.Path("dovecot.sock")); return err == nil })
	h.flood("control.sock", connections, 64)
	h.flood("policy.sock", connections, 16_384) // each smtpd has one
	h.flood("dovecot.sock", connections, 4096)
	select {
	case <-h.weir.Exited():
		t.Error("the agent has ended")
	default:
	}
}

// flood opens connections at a socket of the agent, which serves at most so many
// at once, and has it work beside them.
func (h *host) flood(socket string, connections, served int) {
	h.Helper()
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	most, refused := 0, 0
	for n := range connections {
		c, err := net.DialTimeout("unix", h.lab.Path(socket), 2*time.Second)
		if err != nil {
			refused++ // the queue is full
			continue
		}
		held = append(held, c)
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			h.Fatal(err)
		}
		_, _ = io.WriteString(c, garbage[n%len(garbage)]) // it may be turned away
		if n%500 == 0 {
			most = max(most, h.openFiles())
		}
	}
	source := "10.0.0." + fmt.Sprint(len(socket))
	h.fail(source, 5)
	begun := time.Now()
	h.mustPoll("a source to be flagged beside all that", func() bool {
		_, found, err := h.weir.Find(h.Context(), source)
		return err == nil && found
	})
	h.Logf("%s: %d connections held, %d refused; at most %d open files; a new source flagged and listed within %s",
		socket, len(held), refused, max(most, h.openFiles()), time.Since(begun).Round(time.Millisecond))
	if most > served+200 { // one is closed as it is counted
		h.Errorf("the agent has %d open files", most)
	}
	for _, c := range held {
		_ = c.Close()
	}
	h.mustPoll("the files to be closed", func() bool { return h.openFiles() < 100 })
}

// openFiles is how many the agent has.
func (h *host) openFiles() int {
	h.Helper()
	all, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(h.weir.PID()), "fd"))
	if err != nil {
		h.Fatal(err)
	}
	return len(all)
}
