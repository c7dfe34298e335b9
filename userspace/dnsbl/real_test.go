package dnsbl

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A real DNS list, served by rbldnsd, asked through the standard resolver.
func TestRealList(t *testing.T) {
	program, err := exec.LookPath("rbldnsd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, nothing was tested: %v (run tests/setup.sh test)", err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"four": ":127.0.0.2:listed\n127.0.0.2\n203.0.113.7\n198.51.100.0/24 :127.0.0.10:\n",
		"six":  ":127.0.0.2:listed\n2001:db8:bad::/48\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	args := []string{"-n", "-f", "-b", fmt.Sprintf("127.0.0.1/%d", port), "-w", dir, "bad.example:ip4set:four", "bad.example:ip6trie:six"}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody:nogroup"}, args...)
	}
	cmd := exec.Command(program, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	// TempDir may be closed to others than root.
	for d := filepath.Dir(dir); d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // how it ends is of no interest
	defer func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended }()

	resolver := ResolverAt(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)))
	var mu sync.Mutex
	var found []string
	o := DefaultOptions()
	o.Zones, o.Resolver, o.Logger = []string{"bad.example"}, resolver, slog.New(slog.DiscardHandler)
	o.Found = func(addr netip.Addr, zone string) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, addr.String()+" "+zone)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // a process of the real world
		listed, err := l.lookup(t.Context(), netip.MustParseAddr("127.0.0.2"), "bad.example")
		if listed {
			break
		}
		select {
		case <-ended:
			t.Fatalf("rbldnsd ended: %s", said.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("rbldnsd does not answer: %v\n%s", err, said.String())
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	defer func() { stop(); <-done }()
	for _, addr := range []string{"203.0.113.7", "203.0.113.8", "198.51.100.77", "2001:db8:bad:1::5", "2001:db8:900d::5"} {
		l.Ask(netip.MustParseAddr(addr))
	}
	for end := time.Now().Add(30 * time.Second); l.Stats().Asked < 5 || l.Stats().Listed < 3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(found)
	if got := strings.Join(found, ", "); got != "198.51.100.77 bad.example, 2001:db8:bad:1::5 bad.example, 203.0.113.7 bad.example" {
		t.Errorf("found %s; %+v", got, l.Stats())
	}
	if s := l.Stats(); s.Failed != 0 {
		t.Errorf("counted %+v", s)
	}
}

// freePort returns a UDP port of the loopback that nobody has now.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}
