package main

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"sync"
	"time"

	"weir/tests/lab"
)

// tries are a good client's attempts at one thing.
type tries struct {
	failed int
	took   []time.Duration // of those that succeeded
}

// share is how many of a hundred succeeded.
func (t tries) share() float64 {
	return 100 * float64(len(t.took)) / float64(max(len(t.took)+t.failed, 1))
}

// at is the given part of the times: 0.5 is the median.
func (t tries) at(part float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return t.took[min(int(part*float64(len(t.took))), len(t.took)-1)]
}

// How many good clients there are at a time, how long they wait between two
// attempts, and for how long they try each.
const (
	greeters, mailers = 4, 2
	between           = 50 * time.Millisecond
	greetingPatience  = 10 * time.Second
	mailPatience      = 20 * time.Second
	mailSize          = 1 << 20
)

// clients has good clients come for a while, and waits for what they have
// begun.
func (s *floodStage) clients(ctx context.Context, d time.Duration) (greetings, mails tries) {
	body := mailBody()
	var mu sync.Mutex
	var all sync.WaitGroup
	until := time.Now().Add(d)
	addr := goodClient
	try := func(into *tries, patience time.Duration, once func(net.Conn) error) {
		from := addr
		addr = addr.Next()
		all.Go(func() {
			for time.Now().Before(until) && ctx.Err() == nil {
				began := time.Now()
				err := s.once(ctx, from, patience, once)
				took := time.Since(began)
				mu.Lock()
				if err == nil {
					into.took = append(into.took, took)
				} else {
					into.failed++
				}
				mu.Unlock()
				time.Sleep(between)
			}
		})
	}
	for range greeters {
		try(&greetings, greetingPatience, func(c net.Conn) error {
			_, err := smtp.NewClient(c, lab.Host)
			return err
		})
	}
	for range mailers {
		try(&mails, mailPatience, func(c net.Conn) error { return sendMail(c, body) })
	}
	all.Wait()
	return greetings, mails
}

// once connects to the mail server, does what is to be done, and hangs up.
func (s *floodStage) once(ctx context.Context, from netip.Addr, patience time.Duration, what func(net.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := s.lab.Dial(ctx, from, protectedPort)
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	return what(c)
}

// sendMail hands a message over, as a mail server does (RFC 5321).
func sendMail(c net.Conn, body []byte) error {
	client, err := smtp.NewClient(c, lab.Host)
	if err != nil {
		return err
	}
	if err := client.Hello("mx.example.test"); err != nil {
		return err
	}
	if err := client.Mail("friend@example.net"); err != nil {
		return err
	}
	if err := client.Rcpt(mailUser + "@" + lab.Domain); err != nil {
		return err
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close() // the server has it
}

// mailBody is a message of mailSize bytes.
func mailBody() []byte {
	b := []byte("From: <friend@example.net>\r\nSubject: large\r\n\r\n")
	line := append(bytes.Repeat([]byte("x"), 74), '\r', '\n')
	for len(b) < mailSize {
		b = append(b, line...)
	}
	return b
}
