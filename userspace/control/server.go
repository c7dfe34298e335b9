package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// Options say where and for whom a Server listens.
type Options struct {
	Socket     string           // path
	Operators  string           // group whose members may change things, besides root and the agent's own user
	Readers    string           // group whose members may look
	Version    string           // of the program, told to clients
	MaxClients int              // connections at once; see room
	Patience   time.Duration    // how long a client may take over the next bytes it sends
	Linger     time.Duration    // how long it may take over the next bytes of an answer: it may feed a pager
	Now        func() time.Time // wall clock
	Logger     *slog.Logger
	Audit      *slog.Logger // told of every change
}

// DefaultSocket is where the agent listens unless configured otherwise.
const DefaultSocket = "/run/weir/control.sock"

// DefaultOptions returns what a plain installation uses.
func DefaultOptions() Options {
	return Options{
		Socket:     DefaultSocket,
		Operators:  "weir",
		Readers:    "weir-read",
		MaxClients: 64,
		Patience:   30 * time.Second,
		Linger:     10 * time.Minute,
		Now:        time.Now,
		Logger:     slog.Default(),
		Audit:      slog.New(slog.DiscardHandler),
	}
}

// Validate reports what in o cannot work.
func (o *Options) Validate() error {
	switch {
	case o.Socket == "":
		return errors.New("control: Socket is empty")
	case o.MaxClients < 1:
		return fmt.Errorf("control: MaxClients is %d, want at least 1", o.MaxClients)
	case o.Patience <= 0 || o.Linger <= 0:
		return fmt.Errorf("control: Patience is %v and Linger %v, want both above 0", o.Patience, o.Linger)
	case o.Now == nil || o.Logger == nil || o.Audit == nil:
		return errors.New("control: Now, Logger and Audit must be set")
	}
	return nil
}

// Server answers operators' commands out of a Backend.
type Server struct {
	Options
	backend  Backend
	listener *room
	lists    chan struct{} // a slot for each request that takes as long as its client likes
	socket   os.FileInfo   // of the socket this server made
	http     http.Server
	fullness sync.Mutex // guards the one below
	saidFull time.Time
}

// Listen makes the socket; clients that come from now on wait until Serve.
// It returns ErrInUse if another agent listens there.
func Listen(backend Backend, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l, roles, err := listen(&o)
	if err != nil {
		return nil, err
	}
	s := &Server{Options: o, backend: backend}
	if s.socket, err = os.Lstat(o.Socket); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket %s: %w", o.Socket, err), l.Close())
	}
	s.listener = newRoom(l, roles, o.MaxClients, s.sayFull, s.sayUnknown)
	s.lists = make(chan struct{}, max(1, o.MaxClients*3/4))
	s.http = http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: min(o.Patience, 5*time.Second),
		IdleTimeout:       o.Patience,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		ConnContext:       s.connContext,
	}
	return s, nil
}

// Serve answers until ctx ends, then lets what is under way finish for a
// moment and removes the socket.
func (s *Server) Serve(ctx context.Context) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.http.BaseContext = func(net.Listener) context.Context { return requests }
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, done := context.WithTimeout(requests, time.Second)
		defer done()
		err := s.http.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			cancel()
			err = s.http.Close()
		}
		stopped <- err
	})
	err := s.http.Serve(s.listener)
	if stop() { // Serve failed on its own
		return errors.Join(fmt.Errorf("control socket %s: %w", s.Socket, err), s.http.Close(), s.remove())
	}
	return errors.Join(<-stopped, s.remove())
}

// Close takes the socket away from a server that was never served.
func (s *Server) Close() error { return errors.Join(s.listener.Close(), s.remove()) }

// remove deletes the socket unless somebody put another one there.
func (s *Server) remove() error {
	info, err := os.Lstat(s.Socket)
	if err != nil || !os.SameFile(info, s.socket) {
		return nil
	}
	if err := os.Remove(s.Socket); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("remove control socket: %w", err)
	}
	return nil
}

// sayFull logs that a client is turned away, once a minute at most.
func (s *Server) sayFull() {
	s.fullness.Lock()
	defer s.fullness.Unlock()
	if now := s.Now(); now.Sub(s.saidFull) >= time.Minute {
		s.saidFull = now
		s.Logger.Warn("control clients are turned away", "clients", s.MaxClients)
	}
}

// sayUnknown logs that nobody knows who a client is.
func (s *Server) sayUnknown(err error) {
	s.Logger.Warn("control client cannot be identified and is refused", "error", err)
}

// connContext has requests know who their connection comes from.
func (s *Server) connContext(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(*guest)
	if !ok {
		return ctx
	}
	return context.WithValue(context.WithValue(ctx, guestKey{}, c), peerKey{}, c.peer)
}

// routes ties paths to what answers them, behind the permission check.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]handler{
		"GET /v1/status":      s.status,
		"GET /v1/decisions":   s.long(s.decisions),
		"GET /v1/explanation": s.explanation,
		"POST /v1/pins":       s.long(s.pins),
		"POST /v1/unpins":     s.long(s.unpins),
		"POST /v1/release":    s.release,
		"GET /v1/users":       s.long(s.users),
		"GET /v1/user":        s.user,
		"POST /v1/user/set":   s.long(s.userSet),
		"POST /v1/user/reset": s.userReset,
		"POST /v1/panic":      s.panic,
		"POST /v1/panic/lift": s.lift,
		"POST /v1/confirm":    s.confirm,
	} {
		mux.Handle(pattern, s.guard(handle))
	}
	mux.Handle("/", s.guard(func(_ http.ResponseWriter, r *http.Request, _ peer) error {
		return invalidf("weir %s has nothing at %s %s", s.Version, r.Method, r.URL.Path)
	}))
	return mux
}
