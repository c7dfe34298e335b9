package intake

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

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
