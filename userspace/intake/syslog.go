package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SyslogOptions say where to receive syslog messages.
type SyslogOptions struct {
	Path     string         // absolute; of the unix datagram socket that is made there
	Mode     fs.FileMode    // permissions of the socket: who can write to it can accuse anybody
	Queue    int            // bytes held for a sink that is slow; what exceeds it is lost and counted
	Location *time.Location // of RFC 3164 stamps, which name no zone; nil: the host's
	MaxLine  int            // bytes; see DefaultMaxLine
	Logger   *slog.Logger   // nil: silent
}

// DefaultSyslogOptions are good for a socket fed by the host's own syslog
// daemon; only Path is to be filled in.
func DefaultSyslogOptions() SyslogOptions {
	return SyslogOptions{Mode: 0o660, Queue: 8 << 20, MaxLine: DefaultMaxLine}
}

// Validate says what is wrong with the options and how to put it right.
func (o SyslogOptions) Validate() error {
	var errs []error
	switch {
	case !filepath.IsAbs(o.Path):
		errs = append(errs, fmt.Errorf("syslog socket %q: is not an absolute path; write it from the root, as in /run/weir/syslog", o.Path))
	case len(o.Path) > maxSocketPath:
		errs = append(errs, fmt.Errorf("syslog socket %q: path is longer than %d bytes, which unix(7) does not allow; choose a shorter one", o.Path, maxSocketPath))
	}
	if o.Mode&^fs.ModePerm != 0 {
		errs = append(errs, fmt.Errorf("syslog socket mode %v: only permission bits can be set", o.Mode))
	}
	if o.Queue < 64<<10 {
		errs = append(errs, fmt.Errorf("syslog queue of %d bytes: must be at least 65536", o.Queue))
	}
	if o.MaxLine < 1024 {
		errs = append(errs, fmt.Errorf("longest message %d: must be at least 1024 bytes", o.MaxLine))
	}
	return errors.Join(errs...)
}

// maxSocketPath is what fits into sockaddr_un with its final NUL, unix(7).
const maxSocketPath = 107

// Syslog receives messages on a unix datagram socket.
type Syslog struct {
	o SyslogOptions
	m *meter
}

// NewSyslog makes the input; the socket is made by Run.
func NewSyslog(o SyslogOptions) (*Syslog, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Path = filepath.Clean(o.Path)
	if o.Location == nil {
		o.Location = time.Local
	}
	return &Syslog{o: o, m: newMeter(TypeSyslog+":"+o.Path, TypeSyslog, o.Logger)}, nil
}

// Name is "syslog:" and the path of the socket.
func (s *Syslog) Name() string { return TypeSyslog + ":" + s.o.Path }

// Stats may be called at any time.
func (s *Syslog) Stats() Stats { return s.m.stats() }

// Run receives messages; see [Input]. The positions it gives are empty:
// datagrams cannot be read again. It returns an error wrapping [ErrInUse] if
// another process serves the socket, and an error if it cannot be made.
func (s *Syslog) Run(ctx context.Context, _ Position, sink Sink) error {
	defer s.m.state(StateStopped)
	conn, err := listen(s.o.Path, s.o.Mode)
	if err != nil {
		return err
	}
	q := newQueue(s.o.Queue)
	done := make(chan error, 1)
	go func() { done <- q.receive(conn, s.m) }()
	s.m.state(StateFollowing)
	err = s.deliver(ctx, q, sink)
	os.Remove(s.o.Path)
	conn.Close() // ends receive
	if received := <-done; err == nil {
		err = received
	}
	return err
}

// deliver hands what the queue holds to the sink until ctx or the queue ends.
func (s *Syslog) deliver(ctx context.Context, q *queue, sink Sink) error {
	var lines uint64
	var batch []Record
	names := newNames()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-q.wake:
			if !open {
				return nil
			}
		}
		now := time.Now()
		first := q.swap()
		batch = batch[:0]
		var size uint64
		for b := range q.taken() {
			size += uint64(len(b))
			f := parseFrame(b, now, s.o.Location)
			if len(f.message) > s.o.MaxLine {
				f.message = f.message[:s.o.MaxLine]
				s.m.cut()
			}
			if f.time.IsZero() {
				f.time = now
			}
			lines++
			batch = append(batch, Record{
				Line: f.message, Time: f.time, Program: names.get(f.program), PID: f.pid, Number: lines,
			})
		}
		if len(batch) == 0 {
			continue
		}
		if err := sink(batch, Position{}); err != nil {
			return err
		}
		s.m.delivered(len(batch), size, now)
		s.m.lag(now.Sub(first), 0)
	}
}

// listen makes the socket, in place of one that nobody serves any more.
func listen(path string, mode fs.FileMode) (*net.UnixConn, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("syslog socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("syslog socket %s: something else has that name; remove it or choose another path", path)
	default:
		c, err := net.Dial("unixgram", path)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("syslog socket %s: %w; stop that or choose another path", path, ErrInUse)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("syslog socket: replace one that nobody serves: %w", err)
		}
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("syslog socket: folder %s does not exist; make it", filepath.Dir(path))
	} else if err != nil {
		return nil, fmt.Errorf("syslog socket: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		conn.Close()
		os.Remove(path)
		return nil, fmt.Errorf("syslog socket: %w", err)
	}
	// A burst waits in the kernel while this process is not scheduled; more
	// than net.core.rmem_max is not granted, which is no error.
	_ = conn.SetReadBuffer(receiveBuffer)
	return conn, nil
}

// receiveBuffer is what is asked of the kernel for the socket, in bytes.
const receiveBuffer = 1 << 20
