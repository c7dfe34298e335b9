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
	"sync"
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

// Many senders at once, each with its own framing, and their messages in
// pieces.
func TestSyslogTCPMany(t *testing.T) {
	const senders, messages = 40, 100
	in := networkInput(t, NetworkTCP)
	l := run(t, in, Position{})
	connect(t, in).Close()
	var writing sync.WaitGroup
	for s := range senders {
		c := must(net.Dial("tcp", in.o.Address.String()))(t)
		writing.Go(func() {
			defer c.Close()
			for m := range messages {
				text := fmt.Sprintf("<22>a: %d %d", s, m)
				if s%2 == 0 {
					text = fmt.Sprintf("%d %s", len(text), text)
				} else {
					text += "\n"
				}
				for _, part := range []string{text[:5], text[5:]} {
					if _, err := io.WriteString(c, part); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	writing.Wait()
	next := make([]int, senders)
	for range senders * messages {
		var s, m int
		select {
		case line := <-l.records:
			must(fmt.Sscan(line, &s, &m))(t)
		case <-time.After(deadline):
			t.Fatalf("messages are missing: %v, %+v", next, in.Stats())
		}
		if next[s] != m {
			t.Fatalf("message %d of %d came, want %d", m, s, next[s])
		}
		next[s]++
	}
	if s := in.Stats(); s.Lost != 0 {
		t.Errorf("told as %+v", s)
	}
}

func TestSyslogTCPHostile(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	tests := map[string]struct {
		send   string
		want   []string
		reason string // of one loss
		cut    uint64
	}{
		"not syslog at all":       {"1.0 OK", nil, lostFraming, 0},
		"TLS":                     {"\x16\x03\x01\x02\x00\x01", nil, lostUnfinished, 0},
		"no length":               {"7 <22>a: <22>b: c\n", []string{""}, lostFraming, 0},
		"huge length":             {"123456789 <22>", nil, lostFraming, 0},
		"ended within a message":  {"20 <22>a: b", nil, lostUnfinished, 0},
		"ended within a line":     {"<22>a: b\n<22>a: c", []string{"b"}, lostUnfinished, 0},
		"too long, counted":       {fmt.Sprintf("%d <22>a: %s9 <22>a: b\x00", 7+len(long), long), []string{long[:maxNetworkMessage-7], "b"}, "", 1},
		"too long, a line":        {"<22>a: " + long + "\n<22>a: b\n", []string{long[:maxNetworkMessage-7], "b"}, "", 1},
		"NUL and invalid UTF-8":   {"<22>a: b\x00c\xff\n", []string{"b\x00c\xff"}, "", 0},
		"forged in counted ones":  {"19 <22>a: b\n<22>c: d\ne", []string{"b\n<22>c: d\ne"}, "", 0},
		"counted in lines' names": {"<22>a: b\n9 <22>c: d\n", []string{"b", "9 <22>c: d"}, "", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := networkInput(t, NetworkTCP)
			l := run(t, in, Position{})
			c := connect(t, in)
			send(t, c, tt.send)
			c.(*net.TCPConn).CloseWrite()
			closed(t, c)
			l.expect(tt.want...)
			if tt.reason != "" {
				lost(t, in, tt.reason, 1)
			}
			// Others go on.
			other := connect(t, in)
			send(t, other, "10 <22>a: end")
			l.expect("end")
			if s := in.Stats(); s.Cut != tt.cut || tt.reason == "" && s.Lost != 0 {
				t.Errorf("told as %+v", s)
			}
		})
	}
}

// A sender may be silent between messages, not within one.
func TestSyslogTCPSlow(t *testing.T) {
	in := networkInput(t, NetworkTCP)
	l := must(listenTCP(in.o, in.m))(t).(*tcpListener)
	l.frameTime = 50 * time.Millisecond
	q := newQueue(1 << 20)
	done := make(chan error, 1)
	go func() { done <- l.receive(q) }()
	silent := must(net.Dial("tcp", in.o.Address.String()))(t)
	defer silent.Close()
	send(t, silent, "<22>a: b\n<22>")
	send(t, silent, "a: c\n")
	for range 2 {
		slow := must(net.Dial("tcp", in.o.Address.String()))(t)
		send(t, slow, "<22>a: d\n<2")
		closed(t, slow)
		slow.Close()
	}
	send(t, silent, "<22>a: e\n")
	until := time.Now().Add(deadline)
	var got []string
	for len(got) < 5 && time.Now().Before(until) {
		<-q.wake
		q.swap()
		for b := range q.taken() {
			got = append(got, string(b[len("<22>a: "):]))
		}
	}
	if len(got) != 5 || got[4] != "e" {
		t.Errorf("got %q", got)
	}
	lost(t, in, lostSlow, 2)
	l.close()
	mustDo(t, <-done)
}

func TestSyslogTCPTooMany(t *testing.T) {
	in := networkInput(t, NetworkTCP)
	l := run(t, in, Position{})
	conns := make([]net.Conn, maxPerSender)
	for i := range conns {
		conns[i] = connect(t, in)
		send(t, conns[i], "<22>a: b\n")
		l.expect("b")
	}
	closed(t, connect(t, in))
	lost(t, in, lostConnections, 1)
	send(t, conns[0], "<22>a: c\n")
	l.expect("c")
	conns[1].Close()
	until := time.Now().Add(deadline)
	for { // as soon as the end of the other is seen there is room again
		c := connect(t, in)
		io.WriteString(c, "<22>a: d\n")
		select {
		case got := <-l.records:
			if got != "d" {
				t.Errorf("got %q", got)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(until) {
			t.Fatal("there is never room again")
		}
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

// BenchmarkSyslog takes messages off a connection and to a sink, some
// thousand at a time.
func BenchmarkSyslog(b *testing.B) {
	const message = "<22>1 2026-11-22T10:11:12.345+01:00 mail postfix/smtpd 123 - - warning: unknown[192.0.2.9]: SASL LOGIN authentication failed\n"
	const burst = 5000
	in := networkInput(b, NetworkTCP)
	arrived := make(chan int, burst)
	go in.Run(b.Context(), Position{}, func(batch []Record, _ Position) error {
		arrived <- len(batch)
		return nil
	})
	c := connect(b, in)
	text := strings.Repeat(message, burst)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		send(b, c, text)
		for n := 0; n < burst; n += <-arrived {
		}
	}
	b.ReportMetric(float64(b.N)*burst/b.Elapsed().Seconds(), "lines/s")
}
