package dovecotpolicy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/policy"
)

// Options are what a Server needs.
type Options struct {
	Listen     []string         // "unix:PATH" or "tcp:ADDRESS:PORT"
	Group      string           // whose members may use the unix sockets, besides root
	Key        string           // that each request carries; see ReadKey
	MaxClients int              // connections at once; more wait in the kernel
	Patience   time.Duration    // how long a client may take to send a request
	Idle       time.Duration    // how long a connection may wait for its next request
	Users      int              // logins whose passwords are known again
	Now        func() time.Time // wall clock
	Logger     *slog.Logger
}

// DefaultOptions lack what is listened on, and the key. A Dovecot opens up to
// a hundred connections and drops them after ten idle seconds.
func DefaultOptions() Options {
	return Options{
		Group: "weir", MaxClients: 4096, Patience: 2 * time.Second, Idle: 30 * time.Second, Users: 200_000,
		Now: time.Now, Logger: slog.Default(),
	}
}

// Validate reports what in o cannot work.
func (o *Options) Validate() error {
	switch {
	case len(o.Listen) == 0:
		return errors.New("dovecotpolicy: nothing to listen on")
	case o.Key == "":
		return errors.New("dovecotpolicy: no key")
	case o.MaxClients < 1 || o.Patience <= 0 || o.Idle <= 0 || o.Users < 2:
		return errors.New("dovecotpolicy: MaxClients, Patience, Idle and Users must be above 0")
	case o.Now == nil || o.Logger == nil:
		return errors.New("dovecotpolicy: Now and Logger must be set")
	}
	return nil
}

// maxBody bounds a request. Dovecot's have 200 bytes, and what clients say of
// themselves.
const maxBody = 32 << 10

// Server answers Dovecot.
type Server struct {
	o         Options
	judge     Judge
	key       [sha256.Size]byte
	http      http.Server
	listeners []net.Listener
	known     *passwords
	count     counts
	bodies    sync.Pool
}

type counts struct {
	allowed, delayed, refused           atomic.Uint64
	successes, failures, excused        atomic.Uint64
	unanswered, unauthorised, malformed atomic.Uint64
}

// Stats counts requests since the start.
type Stats struct {
	Listen                       []string
	Allowed, Delayed, Refused    uint64 // answers to allow
	Successes, Failures, Excused uint64 // reports; excused: of failures that are nobody's offence
	Unanswered                   uint64 // allow that could not be judged in time: let through
	Unauthorised, Malformed      uint64 // requests without the key, and such that cannot be read
}

// Listen takes the sockets; clients that come from now on wait until Serve.
func Listen(judge Judge, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Server{o: o, judge: judge, key: sha256.Sum256([]byte(o.Key)), known: newPasswords(o.Users / 2)}
	s.bodies.New = func() any { b := make([]byte, 0, 1024); return &b }
	slots := make(chan struct{}, o.MaxClients)
	for _, where := range o.Listen {
		l, err := listen(where, o.Group, o.Logger)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.listeners = append(s.listeners, &slotListener{Listener: l, slots: slots})
	}
	s.http = http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: o.Patience,
		ReadTimeout:       o.Patience,
		WriteTimeout:      o.Patience + answerTime,
		IdleTimeout:       o.Idle,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	var serving sync.WaitGroup
	errs := make([]error, len(s.listeners))
	for i, l := range s.listeners {
		serving.Go(func() {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				errs[i] = fmt.Errorf("dovecot policy server on %s: %w", s.o.Listen[i], err)
				s.o.Logger.Error("Dovecot is answered no longer on one of its sockets, and lets every login go on", "listen", s.o.Listen[i], "error", err)
			}
		})
	}
	<-ctx.Done()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer done()
	if err := s.http.Shutdown(grace); err != nil {
		errs = append(errs, s.http.Close())
	}
	serving.Wait()
	return errors.Join(errs...)
}

// Close lets go of the sockets of a server that is not served.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Stats may be called at any time.
func (s *Server) Stats() Stats {
	c := &s.count
	return Stats{
		Listen: s.o.Listen, Allowed: c.allowed.Load(), Delayed: c.delayed.Load(), Refused: c.refused.Load(),
		Successes: c.successes.Load(), Failures: c.failures.Load(), Excused: c.excused.Load(),
		Unanswered: c.unanswered.Load(), Unauthorised: c.unauthorised.Load(), Malformed: c.malformed.Load(),
	}
}

// handle answers one request.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	if !s.authorised(r) {
		s.count.unauthorised.Add(1)
		http.Error(w, "the API key is missing or wrong: see auth_policy_server_api_header", http.StatusUnauthorized)
		return
	}
	command := r.URL.Query().Get("command")
	if r.Method != http.MethodPost || command != "allow" && command != "report" {
		s.count.malformed.Add(1)
		http.Error(w, "want POST with ?command=allow or ?command=report", http.StatusBadRequest)
		return
	}
	a, err := s.read(w, r)
	if err != nil {
		s.count.malformed.Add(1)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer Answer
	if command == "allow" {
		answer = s.allow(r.Context(), &a)
	} else {
		s.report(&a)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // who has gone lets the login go on
}

// authorised compares the key in constant time. It comes as auth_policy_server_api_header
// has it: "KEY" or "X-API-Key: KEY", "Authorization: Bearer KEY", or as the
// password of "Authorization: Basic".
func (s *Server) authorised(r *http.Request) bool {
	given := r.Header.Get("X-Api-Key")
	if given == "" {
		scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		switch strings.ToLower(scheme) {
		case "bearer":
			given = strings.TrimSpace(rest)
		case "basic":
			pair, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(rest)) // what is broken is no key
			_, given, _ = strings.Cut(string(pair), ":")
		}
	}
	hash := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(hash[:], s.key[:]) == 1
}

func (s *Server) read(w http.ResponseWriter, r *http.Request) (attempt, error) {
	room := s.bodies.Get().(*[]byte)
	defer s.bodies.Put(room)
	body := (*room)[:0]
	reader := http.MaxBytesReader(w, r.Body, maxBody)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := reader.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return attempt{}, fmt.Errorf("request cannot be read: %w", err)
		}
	}
	*room = body
	return readAttempt(body)
}

// allow answers whether a login may go on.
func (s *Server) allow(ctx context.Context, a *attempt) Answer {
	source := a.source()
	if !policy.Judged(source) { // the host itself, or nobody knows
		s.count.allowed.Add(1)
		return Answer{}
	}
	ctx, done := context.WithTimeout(ctx, answerTime)
	defer done()
	standing, err := s.judge.Standing(ctx, source, a.user())
	if err != nil {
		s.count.unanswered.Add(1)
		return Answer{}
	}
	answer := standing.answer()
	switch {
	case answer.Status < 0:
		s.count.refused.Add(1)
	case answer.Status > 0:
		s.count.delayed.Add(1)
	default:
		s.count.allowed.Add(1)
	}
	return answer
}

// report makes an event of a login's outcome.
func (s *Server) report(a *attempt) {
	o := a.outcome()
	source, user, password := a.source(), a.user(), a.password()
	if o == untyped && s.known.wasRight(source, user, password) {
		o = excused
	}
	var number uint64
	switch o {
	case succeeded:
		number = s.count.successes.Add(1)
		if password != 0 && source.IsValid() {
			s.known.succeeded(source, user, password)
		}
	case excused:
		s.count.excused.Add(1)
	default:
		number = s.count.failures.Add(1)
	}
	if !policy.Judged(source) {
		return
	}
	e := a.event(o, s.o.Now(), number)
	s.judge.Report(&e, a.evidence(o), o != excused)
}
