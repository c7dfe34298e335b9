package agent

import (
	"net"
	"strings"
	"testing"
	"time"
)

// systemd listens as the service manager does.
type systemd struct{ *net.UnixConn }

func mustListen(t *testing.T, path string) systemd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return systemd{conn}
}

// mustTell waits for a message that begins so, and ignores others.
func (s systemd) mustTell(t *testing.T, want string) {
	t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		n, err := s.Read(b)
		if err != nil {
			t.Fatalf("systemd was not told %q: %v", want, err)
		}
		if strings.HasPrefix(string(b[:n]), want) {
			return
		}
	}
}
