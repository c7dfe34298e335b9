package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"weir/tests/bench/paced"
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
	late           time.Duration // p99 of the asker's own delay
	full           float64       // requests a second
	cpu            float64       // microseconds a request, at the rate
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
	m.late = time.Duration(pick(func(f figures) float64 { return float64(f.late) }))
	m.full = pick(func(f figures) float64 { return f.full })
	m.cpu = pick(func(f figures) float64 { return f.cpu })
	return m
}

// measure does one run at the rate, and one at full speed for a third of the
// time.
func (r *row) measure(ctx context.Context, l *lab.Lab, o options) error {
	before, err := lab.UsageOf(r.pid)
	if err != nil {
		return err
	}
	load := paced.Load{
		Dial: func() (net.Conn, error) { return dial(l, r.port) }, Connections: o.connections,
		Every: time.Second / time.Duration(o.rate), Lasts: o.time, Request: request, Answer: answer,
	}
	at, err := load.Run(ctx)
	if err != nil {
		return err
	}
	after, err := lab.UsageOf(r.pid)
	if err != nil {
		return err
	}
	load.Every, load.Lasts = 0, o.time/3
	full, err := load.Run(ctx)
	if err != nil {
		return err
	}
	r.runs = append(r.runs, figures{
		p50: paced.At(at.Times, 0.5), p99: paced.At(at.Times, 0.99), p999: paced.At(at.Times, 0.999), late: paced.At(at.Late, 0.99),
		full: float64(len(full.Times)) / full.Took.Seconds(), cpu: float64((after.Busy - before.Busy).Microseconds()) / float64(len(at.Times)),
	})
	return nil
}

const dropped = "203.0.113.0"

// request appends number n of a day at a busy and attacked host: each login
// asks twice and is reported once; one in ten is of a guesser that has failed
// before, and one in twenty of a source that is dropped.
func request(b []byte, n int) []byte {
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
	return fmt.Appendf(b, "POST /?command=%s HTTP/1.1\r\nHost: 127.0.0.1:10032\r\nDate: Thu, 26 Nov 2026 00:42:32 GMT\r\nUser-Agent: dovecot/auth-policy-client\r\nContent-Length: %d\r\nConnection: Keep-Alive\r\nContent-Type: application/json\r\nX-API-Key: %s\r\n\r\n%s",
		command, len(body), key, body)
}

// answer looks at an answer and wants it to be one.
func answer(in []byte) (size int, err error) {
	head, body, found := bytes.Cut(in, []byte("\r\n\r\n"))
	if !found {
		return 0, nil
	}
	_, rest, _ := bytes.Cut(head, []byte("Content-Length: "))
	text, _, _ := bytes.Cut(rest, []byte("\r\n"))
	length, err := strconv.Atoi(string(text))
	switch {
	case err != nil || !bytes.HasPrefix(in, []byte("HTTP/1.1 200")):
		return 0, fmt.Errorf("answered %q", in)
	case len(body) < length:
		return 0, nil
	case !bytes.HasPrefix(body, []byte(`{"status":`)):
		return 0, fmt.Errorf("answered %q", body)
	}
	return len(in) - len(body) + length, nil
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
