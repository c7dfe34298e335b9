package postfixpolicy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// connection is one client's. Its buffer begins small, as there may be ten
// thousand of them.
type connection struct {
	server  *Server
	conn    net.Conn
	session Session
	request Request
	in      []byte // received: in[:have]
	have    int
	out     []byte

	begun     time.Time // when the request at hand began; zero: none has
	readLimit time.Time // deadlines that were set last
	readSlow  bool      // readLimit is for a request that has begun
	writing   time.Time
}

const (
	firstBuffer = 2 << 10
	flushAt     = 32 << 10 // bytes of answers that are written at once at most
)

func newConnection(s *Server, conn net.Conn) *connection {
	return &connection{server: s, conn: conn, in: make([]byte, firstBuffer)}
}

// serve answers requests until the client goes, sends what cannot be
// understood, or takes too long.
func (c *connection) serve() {
	for {
		if !c.receive() {
			return
		}
		now := time.Now()
		used, ok := c.answerAll()
		if !c.send(now) || !ok {
			return
		}
		if used > 0 {
			c.have = copy(c.in, c.in[used:c.have])
			c.begun = time.Time{}
		}
		if c.have > 0 && c.begun.IsZero() {
			c.begun = now
		}
	}
}

// receive reads more, and reports false if nothing comes any more.
func (c *connection) receive() bool {
	if c.have == len(c.in) {
		if c.have >= c.server.o.MaxRequest {
			c.server.counts.oversized.Add(1)
			c.server.say("a policy request is too long", "address", c.server.o.Address, "bytes", c.have)
			return false
		}
		c.in = append(c.in, make([]byte, min(len(c.in), c.server.o.MaxRequest-len(c.in)))...)
	}
	if c.limitReading() != nil {
		return false
	}
	n, err := c.conn.Read(c.in[c.have:])
	c.have += n
	if n > 0 {
		return true
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.begun.IsZero() {
		c.server.counts.late.Add(1)
	}
	if errors.Is(err, io.EOF) && c.have > 0 {
		c.server.counts.malformed.Add(1)
	}
	return false
}

// limitReading sets the deadline: a request that has begun must be there
// within Patience of its first byte, however slowly its bytes trickle in.
func (c *connection) limitReading() error {
	now := time.Now()
	var limit time.Time
	slow := c.have > 0
	switch {
	case slow:
		limit = c.begun.Add(c.server.o.Patience)
	case !c.readSlow && c.readLimit.Sub(now) > c.server.o.Idle/2:
		return nil // setting it costs more than it says
	default:
		limit = now.Add(c.server.o.Idle)
	}
	c.readLimit, c.readSlow = limit, slow
	return c.conn.SetReadDeadline(limit)
}

// answerAll answers the requests that are there, and returns how many bytes
// they were. It reports false if there was one that cannot be understood:
// those before it are answered, it is not.
func (c *connection) answerAll() (used int, ok bool) {
	for {
		rest := c.in[used:c.have]
		if len(rest) > 0 && rest[0] == '\n' {
			return used, c.malformed(errMalformed)
		}
		end := bytes.Index(rest, requestEnd)
		if end < 0 {
			return used, true
		}
		if err := c.request.parse(rest[:end]); err != nil {
			return used, c.malformed(err)
		}
		c.out = c.server.answerer.Answer(&c.session, &c.request, c.out)
		c.server.counts.requests.Add(1)
		used += end + len(requestEnd)
		if len(c.out) >= flushAt && !c.send(time.Now()) {
			return used, false
		}
	}
}

func (c *connection) malformed(err error) bool {
	c.server.counts.malformed.Add(1)
	c.server.say("a policy request cannot be answered; its connection is closed", "address", c.server.o.Address, "error", err)
	return false
}

// send writes the answers.
func (c *connection) send(now time.Time) bool {
	if len(c.out) == 0 {
		return true
	}
	if c.writing.Sub(now) < c.server.o.Patience/2 {
		c.writing = now.Add(c.server.o.Patience)
		if c.conn.SetWriteDeadline(c.writing) != nil {
			return false
		}
	}
	_, err := c.conn.Write(c.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.counts.late.Add(1)
	}
	c.out = c.out[:0]
	return err == nil
}
