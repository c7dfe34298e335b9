package main

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
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/tests/lab"
)

// row is one contender and what was measured of it.
type row struct {
	name string
	port int
	pid  int
	runs []figures
}

type figures struct {
	p50, p99, p999 time.Duration
	full           float64 // requests a second
	cpu            float64 // microseconds a request, at the rate
}

// median takes the median of each figure.
func (r *row) median() (m figures) {
	at := len(r.runs) / 2
	pick := func(of func(figures) float64) float64 {
		var all []float64
		for _, f := range r.runs {
			all = append(all, of(f))
		}
		slices.Sort(all)
		return all[at]
	}
	m.p50 = time.Duration(pick(func(f figures) float64 { return float64(f.p50) }))
	m.p99 = time.Duration(pick(func(f figures) float64 { return float64(f.p99) }))
	m.p999 = time.Duration(pick(func(f figures) float64 { return float64(f.p999) }))
	m.full = pick(func(f figures) float64 { return f.full })
	m.cpu = pick(func(f figures) float64 { return f.cpu })
	return m
}

// measure does one run at the rate, and one at full speed for a third of the
// time.
func (r *row) measure(ctx context.Context, l *lab.Lab, o options) error {
	before, err := cpuTime(r.pid)
	if err != nil {
		return err
	}
	paced, _, err := load(ctx, l, r.port, o, time.Duration(o.connections)*time.Second/time.Duration(o.rate), o.time)
	if err != nil {
		return err
	}
	after, err := cpuTime(r.pid)
	if err != nil {
		return err
	}
	slices.Sort(paced)
	at := func(share float64) time.Duration { return paced[min(int(share*float64(len(paced))), len(paced)-1)] }
	full, took, err := load(ctx, l, r.port, o, 0, o.time/3)
	if err != nil {
		return err
	}
	r.runs = append(r.runs, figures{p50: at(0.5), p99: at(0.99), p999: at(0.999), full: float64(len(full)) / took.Seconds(),
		cpu: float64((after - before).Microseconds()) / float64(len(paced))})
	return nil
}

// cpuTime is what a process has used so far (proc_pid_stat(5)), in ticks of a
// hundredth of a second.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// load sends requests on every connection, one each interval, and returns how
// long each took from when it was due.
func load(ctx context.Context, l *lab.Lab, port int, o options, interval, lasts time.Duration) ([]time.Duration, time.Duration, error) {
	var senders sync.WaitGroup
	results := make([][]time.Duration, o.connections)
	errs := make([]error, o.connections)
	conns := make([]net.Conn, o.connections)
	for i := range conns {
		var err error
		if conns[i], err = dial(l, port); err != nil {
			return nil, 0, err
		}
		defer conns[i].Close()
	}
	begun := time.Now()
	for i, conn := range conns {
		senders.Go(func() {
			// Staggered, so that they do not all come at once.
			first := begun.Add(interval * time.Duration(i) / time.Duration(o.connections))
			results[i], errs[i] = send(ctx, conn, i, first, interval, begun.Add(lasts))
		})
	}
	senders.Wait()
	took := time.Since(begun)
	return slices.Concat(results...), took, errors.Join(errs...)
}

func send(ctx context.Context, conn net.Conn, number int, due time.Time, interval time.Duration, end time.Time) (took []time.Duration, err error) {
	reader := bufio.NewReader(conn)
	if err := conn.SetDeadline(end.Add(lab.Patience)); err != nil {
		return nil, err
	}
	for n := number; due.Before(end) && ctx.Err() == nil; n += 7919 {
		if interval == 0 {
			due = time.Now()
		} else if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if _, err := conn.Write(request(n)); err != nil {
			return nil, err
		}
		if err := answer(reader); err != nil {
			return nil, err
		}
		took = append(took, time.Since(due))
		if interval == 0 && time.Now().After(end) {
			break
		}
		due = due.Add(interval)
	}
	return took, ctx.Err()
}

const dropped = "203.0.113.0"

// request is number n of a day at a busy and attacked host: each login asks
// twice and is reported once; one in ten is of a guesser that has failed before,
// and one in twenty of a source that is dropped.
func request(n int) []byte {
	command, source, user := "allow", fmt.Sprintf("11.%d.%d.%d", n>>13&63, n>>6&127, n&63), fmt.Sprint("user", n%50_000)
	outcome := ""
	switch {
	case n%20 == 1:
		source = fmt.Sprintf("203.0.113.%d", n%250)
	case n%10 == 2:
		source = fmt.Sprintf("12.0.%d.%d", n>>8&3, n&255)
	}
	if n%3 == 0 {
		command = "report"
		outcome = fmt.Sprintf(`,"success":%t,"policy_reject":false`, n%10 != 2)
	}
	body := fmt.Sprintf(`{"device_id":"","login":"%s","protocol":"imap","pwhash":"%04x","remote":"%s","session_id":"pTkWOCNh2Lh/AAAB"%s,"tls":true}`,
		user, n&0xfff, source, outcome)
	return fmt.Appendf(nil, "POST /?command=%s HTTP/1.1\r\nHost: 127.0.0.1:10032\r\nDate: Thu, 26 Nov 2026 00:42:32 GMT\r\nUser-Agent: dovecot/auth-policy-client\r\nContent-Length: %d\r\nConnection: Keep-Alive\r\nContent-Type: application/json\r\nX-API-Key: %s\r\n\r\n%s",
		command, len(body), key, body)
}

// answer reads an answer and wants it to be one.
func answer(r *bufio.Reader) error {
	status, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("answered %q", status)
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if rest, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(rest))); err != nil {
				return err
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if !bytes.HasPrefix(body, []byte(`{"status":`)) {
		return fmt.Errorf("answered %q", body)
	}
	return nil
}

func dial(l *lab.Lab, port int) (conn net.Conn, err error) {
	err = l.Mail.Do(func() (err error) {
		conn, err = net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		return err
	})
	return conn, err
}

// floor is the server that answers a constant.
func floor(ctx context.Context, address string) error {
	server := http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":0,"msg":""}`)
	})}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
