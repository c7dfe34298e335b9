package intake

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// loopback is an address that nobody listens on.
func loopback(t testing.TB, network, host string) netip.AddrPort {
	t.Helper()
	if network == NetworkUDP {
		c := must(net.ListenPacket(network, net.JoinHostPort(host, "0")))(t)
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	l := must(net.Listen(network, net.JoinHostPort(host, "0")))(t)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func networkInput(t testing.TB, network string, from ...string) *Syslog {
	t.Helper()
	o := DefaultSyslogOptions()
	o.Network, o.Address = network, loopback(t, network, "127.0.0.1")
	for _, text := range from {
		o.From = append(o.From, netip.MustParsePrefix(text))
	}
	return must(NewSyslog(o))(t)
}

// connect waits for the input to listen.
func connect(t testing.TB, in *Syslog) net.Conn {
	t.Helper()
	until := time.Now().Add(deadline)
	for in.Stats().State != StateFollowing {
		if time.Now().After(until) {
			t.Fatal("the input does not listen")
		}
		time.Sleep(time.Millisecond)
	}
	c := must(net.Dial(in.o.Network, in.o.Address.String()))(t)
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	must(io.WriteString(c, text))(t)
}

// closed waits for the other side to close c.
func closed(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(deadline))
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is not closed: %d, %v", n, err)
	}
}

// reached waits for a count of the input.
func reached(t testing.TB, in *Syslog, what string, count func(Stats) bool) Stats {
	t.Helper()
	until := time.Now().Add(deadline)
	for s := in.Stats(); ; s = in.Stats() {
		if count(s) {
			return s
		}
		if time.Now().After(until) {
			t.Fatalf("%s: not told: %+v", what, s)
		}
		time.Sleep(time.Millisecond)
	}
}

// lost waits until n losses of a reason are told, and no others.
func lost(t testing.TB, in *Syslog, reason string, n uint64) {
	t.Helper()
	s := reached(t, in, reason, func(s Stats) bool { return s.Lost >= n })
	if len(s.Losses) != 1 || s.Losses[0].Reason != reason || s.Lost != n {
		t.Errorf("told as %+v, want %d: %s", s.Losses, n, reason)
	}
}

// The forms in which logger(1) of util-linux sends.
func TestSyslogLogger(t *testing.T) {
	logger, err := exec.LookPath("logger")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("logger is missing; install the package bsdutils")
	}
	host, _, _ := strings.Cut(must(os.Hostname())(t), ".")
	for _, tt := range [][]string{
		{NetworkUDP, "-d", "--rfc5424"}, {NetworkUDP, "-d", "--rfc3164"}, {NetworkUDP, "-d", "--rfc5424=nohost,notq"},
		{NetworkTCP, "-T", "--rfc5424"}, {NetworkTCP, "-T", "--rfc3164"},
		{NetworkTCP, "-T", "--octet-count", "--rfc5424"}, {NetworkTCP, "-T", "--octet-count", "--rfc3164"},
	} {
		t.Run(strings.Join(tt, " "), func(t *testing.T) {
			in := networkInput(t, tt[0])
			l := runAs(t, in, Position{}, func(r Record) string {
				if age := time.Since(r.Time).Abs(); age > time.Minute {
					t.Errorf("time is %v", r.Time)
				}
				name, _, _ := strings.Cut(r.Host, ".")
				return fmt.Sprintf("%s %s[%d]: %s", name, r.Program, r.PID, r.Line)
			})
			connect(t, in).Close()
			args := append(tt[1:], "-n", "127.0.0.1", "-P", fmt.Sprint(in.o.Address.Port()), "-p", "mail.info", "-t", "postfix/smtpd", "--id=712")
			lines := "warning: unknown[192.0.2.9]: a\nwarning: unknown[192.0.2.9]: b \"c\" [d] 😀\n"
			cmd := exec.Command(logger, args...)
			cmd.Stdin = strings.NewReader(lines)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := host
			if strings.Contains(tt[2], "nohost") {
				want = "127"
			}
			for line := range strings.Lines(lines) {
				l.expect(fmt.Sprintf("%s postfix/smtpd[712]: %s", want, strings.TrimSuffix(line, "\n")))
			}
			l.end()
			if s := in.Stats(); s.Lost != 0 || s.Refused != 0 {
				t.Errorf("told as %+v", s)
			}
		})
	}
}

func TestSyslogRefused(t *testing.T) {
	for _, network := range []string{NetworkUDP, NetworkTCP} {
		in := networkInput(t, network, "192.0.2.0/28", "2001:db8::/32")
		l := run(t, in, Position{})
		c := connect(t, in)
		io.WriteString(c, "<22>a: b\n")
		if network == NetworkTCP {
			closed(t, c)
		}
		reached(t, in, network, func(s Stats) bool { return s.Refused == 1 })
		l.end()
		if s := in.Stats(); s.Lines != 0 || s.Lost != 0 {
			t.Errorf("%s: told as %+v", network, s)
		}
	}
}

func TestSyslogAdmits(t *testing.T) {
	some := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("fe80::/64")}
	for _, tt := range []struct {
		from []netip.Prefix
		addr string
		want bool
	}{
		{nil, "127.0.0.1", true}, {nil, "127.3.2.1", true}, {nil, "::1", true}, {nil, "::ffff:127.0.0.1", true}, {nil, "192.0.2.1", false}, {nil, "::", false},
		{some, "192.0.2.15", true}, {some, "::ffff:192.0.2.15", true}, {some, "192.0.2.16", false}, {some, "fe80::1%eth0", true}, {some, "127.0.0.1", false},
	} {
		o := SyslogOptions{From: tt.from}
		if got := o.admits(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%v admits %s: %t", tt.from, tt.addr, got)
		}
	}
}

// What the kernel drops because nobody reads is counted, to the message.
func TestSyslogUDPOverflow(t *testing.T) {
	in := networkInput(t, NetworkUDP)
	l := must(listenUDP(in.o, in.m))(t).(*udpListener)
	c := must(net.Dial("udp", in.o.Address.String()))(t)
	defer c.Close()
	const n = 400
	message := "<22>a: " + strings.Repeat("x", 50_000)
	for range n {
		send(t, c, message)
	}
	q := newQueue(64 << 20)
	done := make(chan error, 1)
	go func() { done <- l.receive(q) }()
	// The next one that is read tells of those that were dropped before it.
	sent, got := n, 0
	until := time.Now().Add(deadline)
	for s := in.Stats(); got == 0 || s.Lost == 0 || got+int(s.Lost) != sent; s = in.Stats() {
		if time.Now().After(until) {
			t.Fatalf("%d of %d came: %+v", got, sent, s)
		}
		send(t, c, "<22>a: one more")
		sent++
		<-q.wake
		q.swap()
		for range q.taken() {
			got++
		}
	}
	l.close()
	mustDo(t, <-done)
	lost(t, in, lostByKernel, uint64(sent-got))
}

// What had arrived when the input is stopped is delivered, and the next one
// can listen at once.
func TestSyslogRestart(t *testing.T) {
	for _, network := range []string{NetworkUDP, NetworkTCP} {
		t.Run(network, func(t *testing.T) {
			in := networkInput(t, network)
			for range 3 {
				l := run(t, in, Position{})
				c := connect(t, in)
				second := must(NewSyslog(in.o))(t)
				if err := second.Run(t.Context(), Position{}, nil); !errors.Is(err, ErrInUse) {
					t.Errorf("second receiver: %v", err)
				}
				send(t, c, "<22>a: first\n")
				l.expect("first")
				send(t, c, "<22>a: last\n")
				l.end()
				if len(l.records) != 1 || <-l.records != "last" {
					t.Error("what had arrived was not delivered")
				}
			}
			if s := in.Stats(); s.Lost != 0 || s.State != StateStopped {
				t.Errorf("told as %+v", s)
			}
		})
	}
}

func TestSyslogAddress(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		from             string
		want             string
	}{
		{NetworkUDP, "192.0.2.1:514", "", "who may send is not said"},
		{NetworkTCP, "[::]:601", "", "who may send is not said"},
		{NetworkTCP, "127.0.0.1:0", "", "needs an address and a port"},
		{"sctp", "127.0.0.1:1", "", "is not known"},
		{NetworkTCP, "[::]:601", "2001:db8::/32", ""},
		{NetworkUDP, "[::ffff:127.0.0.1]:514", "", ""},
	} {
		o := DefaultSyslogOptions()
		o.Network, o.Address = tt.network, netip.MustParseAddrPort(tt.address)
		if tt.from != "" {
			o.From = []netip.Prefix{netip.MustParsePrefix(tt.from)}
		}
		err := o.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: error %v, want %q in it", tt.network, tt.address, err, tt.want)
		}
	}
}
