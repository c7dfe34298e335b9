package postfixpolicy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Answerer says what to answer. It is called from many goroutines at once,
// with the session of the connection that the request came by.
type Answerer interface {
	// Answer appends the answer to r, "action=…" and an empty line, to out.
	Answer(s *Session, r *Request, out []byte) []byte
}

// Options of a Server.
type Options struct {
	Address     string        // "unix:PATH" or "tcp:ADDRESS:PORT"
	Users       []string      // who may ask through a unix socket, besides root and the agent's own user; those that do not exist are left out
	Connections int           // at most at once; more are closed
	MaxRequest  int           // bytes; who sends more is closed
	Patience    time.Duration // in which a request that has begun must be there, and an answer taken
	Idle        time.Duration // after which a connection that asks nothing is closed
	Logger      *slog.Logger  //
}

// DefaultOptions are for a host with as many smtpd processes as fit on it.
// Postfix closes connections itself when they were idle for 300 s or are
// 1000 s old (smtpd_policy_service_max_idle, _max_ttl).
func DefaultOptions() Options {
	return Options{
		Users:       []string{"postfix", "Debian-exim", "exim"},
		Connections: 16_384, MaxRequest: 64 << 10, Patience: 10 * time.Second, Idle: 20 * time.Minute, Logger: slog.Default(),
	}
}

// Validate reports what in o cannot work.
func (o *Options) Validate() error {
	switch {
	case o.Connections < 1 || o.MaxRequest < 1024 || o.Patience <= 0 || o.Idle < o.Patience:
		return errors.New("postfixpolicy: bounds are missing")
	case o.Logger == nil:
		return errors.New("postfixpolicy: Logger must be set")
	}
	return nil
}

// Server serves one address.
type Server struct {
	o        Options
	answerer Answerer
	listener net.Listener
	made     os.FileInfo // the socket in the file system; nil over TCP
	users    map[uint32]bool
	counts   counts
	said     said

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	ended bool
	done  sync.WaitGroup
}

// counts are what a server has seen.
type counts struct {
	requests, malformed, oversized, late, refused, connections atomic.Uint64
}

// Stats is what a server has seen since it began.
type Stats struct {
	Address     string
	Open        int    // connections now
	Connections uint64 // all that came
	Requests    uint64 // that were answered
	Malformed   uint64 // that were not understood
	Oversized   uint64 // that were too long
	Late        uint64 // that were not there, or whose answers were not taken, in time
	Refused     uint64 // connections beyond the bound, or of those who may not ask
}

// Listen begins to serve an address.
func Listen(o Options, answerer Answerer) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Server{o: o, answerer: answerer, open: make(map[net.Conn]struct{})}
	if err := s.listen(); err != nil {
		return nil, fmt.Errorf("listen for policy requests on %s: %w", o.Address, err)
	}
	s.done.Go(s.accept)
	return s, nil
}

// Stats returns what the server has seen.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.open)
	s.mu.Unlock()
	c := &s.counts
	return Stats{
		Address: s.o.Address, Open: open, Connections: c.connections.Load(), Requests: c.requests.Load(), Malformed: c.malformed.Load(),
		Oversized: c.oversized.Load(), Late: c.late.Load(), Refused: c.refused.Load(),
	}
}

// Close ends serving. Whoever waits for an answer gets none.
func (s *Server) Close() error {
	s.mu.Lock()
	s.ended = true
	err := s.listener.Close()
	for conn := range s.open {
		_ = conn.Close() // its goroutine is told by that
	}
	s.mu.Unlock()
	s.done.Wait()
	return errors.Join(err, s.removeSocket())
}

// accept takes connections until the listener is closed.
func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// No file descriptors, say. Those who wait are served when some are
			// free again.
			s.say("policy connections cannot be taken", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.counts.connections.Add(1)
		if reason := s.admit(conn); reason != "" {
			s.counts.refused.Add(1)
			s.say("policy connection refused", "address", s.o.Address, "reason", reason)
			_ = conn.Close() // nothing was said
			continue
		}
		s.done.Go(func() {
			defer s.leave(conn)
			newConnection(s, conn).serve()
		})
	}
}

// admit notes a connection, or says why it is not served.
func (s *Server) admit(conn net.Conn) (reason string) {
	if reason := s.stranger(conn); reason != "" {
		return reason
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return "the agent is stopping"
	case len(s.open) >= s.o.Connections:
		return fmt.Sprintf("%d connections are open", len(s.open))
	}
	s.open[conn] = struct{}{}
	return ""
}

func (s *Server) leave(conn net.Conn) {
	_ = conn.Close() // it may be closed already
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// stranger says why who is at the other end may not ask, nothing if he may.
func (s *Server) stranger(conn net.Conn) string {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return "" // loopback: any process of this host
	}
	raw, err := local.SyscallConn()
	if err != nil {
		return err.Error()
	}
	var peer *syscall.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		peer, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || asked != nil {
		return "who asks is not known"
	}
	if peer.Uid == 0 || peer.Uid == uint32(os.Geteuid()) || s.users[peer.Uid] {
		return ""
	}
	return fmt.Sprintf("user %d may not ask: name it in users below [postfix_policy]", peer.Uid)
}

// said keeps one trouble from filling the log.
type said struct {
	mu   sync.Mutex
	last time.Time
}

// say logs, once in ten seconds at most.
func (s *Server) say(what string, args ...any) {
	s.said.mu.Lock()
	defer s.said.mu.Unlock()
	if now := time.Now(); now.Sub(s.said.last) >= 10*time.Second {
		s.said.last = now
		s.o.Logger.Log(context.Background(), slog.LevelWarn, what, args...)
	}
}
