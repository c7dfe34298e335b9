package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// Transports of syslog messages, in [SyslogOptions.Network].
const (
	NetworkUnix = "unix" // datagrams on a local socket, as syslog(3) sends them
	NetworkUDP  = "udp"  // RFC 5426
	NetworkTCP  = "tcp"  // RFC 6587
)

// SyslogOptions say where to receive syslog messages, and from whom.
type SyslogOptions struct {
	Network string // NetworkUnix, NetworkUDP or NetworkTCP

	Path string      // unix: absolute; of the socket that is made there
	Mode fs.FileMode // unix: permissions of the socket: who can write to it can accuse anybody

	Address netip.AddrPort // udp, tcp: where to listen
	From    []netip.Prefix // udp, tcp: who may send, as he can accuse anybody; none: this host alone

	Queue    int            // bytes held for a sink that is slow; what exceeds it is lost and counted
	Location *time.Location // of RFC 3164 stamps, which name no zone; nil: the host's
	MaxLine  int            // bytes; see DefaultMaxLine. No more than 64 KiB over a network
	Logger   *slog.Logger   // nil: silent
}

// DefaultSyslogOptions are good for a socket fed by the host's own syslog
// daemon; only Path is to be filled in.
func DefaultSyslogOptions() SyslogOptions {
	return SyslogOptions{Network: NetworkUnix, Mode: 0o660, Queue: 8 << 20, MaxLine: DefaultMaxLine}
}

// Validate says what is wrong with the options and how to put it right.
func (o SyslogOptions) Validate() error {
	var errs []error
	switch o.Network {
	case NetworkUnix:
		errs = append(errs, o.validateUnix())
	case NetworkUDP, NetworkTCP:
		errs = append(errs, o.validateAddress())
	default:
		errs = append(errs, fmt.Errorf("syslog transport %q: is not known; unix, udp and tcp are", o.Network))
	}
	if o.Queue < 64<<10 {
		errs = append(errs, fmt.Errorf("syslog queue of %d bytes: must be at least 65536", o.Queue))
	}
	if o.MaxLine < 1024 {
		errs = append(errs, fmt.Errorf("longest message %d: must be at least 1024 bytes", o.MaxLine))
	}
	return errors.Join(errs...)
}

func (o SyslogOptions) validateUnix() error {
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
	return errors.Join(errs...)
}

func (o SyslogOptions) validateAddress() error {
	switch {
	case !o.Address.IsValid() || o.Address.Port() == 0:
		return fmt.Errorf("syslog address %v: needs an address and a port, as in 127.0.0.1:514", o.Address)
	case len(o.From) == 0 && !o.Address.Addr().Unmap().IsLoopback():
		return fmt.Errorf("syslog address %v: others can reach it, and who may send is not said; name the senders, or listen on 127.0.0.1 or ::1", o.Address)
	}
	return nil
}

// listener is the receiving end of one transport.
type listener interface {
	// receive puts messages into the queue until close is called, which is
	// no error.
	receive(q *queue) error
	// close has receive end when it has read what had arrived by then, or
	// lastCall later.
	close()
}

// lastCall is how long a receiver that is told to end goes on reading what
// has arrived already.
const lastCall = 50 * time.Millisecond

// Syslog receives syslog messages.
type Syslog struct {
	o SyslogOptions
	m *meter
}

// NewSyslog makes the input; the socket is made by Run.
func NewSyslog(o SyslogOptions) (*Syslog, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Network == NetworkUnix {
		o.Path = filepath.Clean(o.Path)
	} else {
		o.MaxLine = min(o.MaxLine, maxNetworkMessage)
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	s := &Syslog{o: o}
	s.m = newMeter(s.Name(), TypeSyslog, o.Logger)
	return s, nil
}

// Name is "syslog:" and the path of the socket, or transport and address.
func (s *Syslog) Name() string {
	if s.o.Network == NetworkUnix {
		return TypeSyslog + ":" + s.o.Path
	}
	return TypeSyslog + ":" + s.o.Network + ":" + s.o.Address.String()
}

// Stats may be called at any time.
func (s *Syslog) Stats() Stats { return s.m.stats() }

// Run receives messages; see [Input]. The positions it gives are empty:
// messages cannot be read again. It returns an error wrapping [ErrInUse] if
// another process serves the socket, and an error if it cannot be made.
func (s *Syslog) Run(ctx context.Context, _ Position, sink Sink) error {
	defer s.m.state(StateStopped)
	l, err := s.listen()
	if err != nil {
		return err
	}
	q := newQueue(s.o.Queue)
	done := make(chan error, 1)
	go func() {
		defer close(q.wake)
		done <- l.receive(q)
	}()
	s.m.state(StateFollowing)
	stop := context.AfterFunc(ctx, l.close)
	err = s.deliver(q, sink)
	if stop() {
		l.close()
	}
	if received := <-done; err == nil {
		err = received
	}
	return err
}

func (s *Syslog) listen() (listener, error) {
	switch s.o.Network {
	case NetworkUDP:
		return listenUDP(s.o, s.m)
	case NetworkTCP:
		return listenTCP(s.o, s.m)
	}
	return listenUnix(s.o, s.m)
}

// errCutName tells of "postfix/smtpd" that came as "postfix", which leaves
// nothing to know the process by.
var errCutName = errors.New(`names of Postfix's processes come cut short: have rsyslogd send them whole, by global(parser.permitSlashInProgramName="on") in its configuration`)

// deliver hands what the queue holds to the sink until the queue ends.
func (s *Syslog) deliver(q *queue, sink Sink) error {
	var lines uint64
	var batch []Record
	names := newNames()
	for open := true; open; {
		_, open = <-q.wake
		now := time.Now()
		first := q.swap()
		batch = batch[:0]
		var size uint64
		for b, sender := range q.taken() {
			size += uint64(len(b))
			f := parseFrame(b, now, s.o.Location)
			if len(f.message) > s.o.MaxLine {
				f.message = f.message[:s.o.MaxLine]
				s.m.cut()
			}
			if f.time.IsZero() {
				f.time = now
			}
			host := sender
			if len(f.host) > 0 {
				host = names.get(f.host)
			}
			if f.cutName {
				s.m.trouble(errCutName)
			}
			lines++
			batch = append(batch, Record{
				Line: f.message, Time: f.time, Host: host, Program: names.get(f.program), PID: f.pid, Number: lines,
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
	return nil
}

// admits says whether addr may send. A zone only says which link it is on.
func (o *SyslogOptions) admits(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if len(o.From) == 0 {
		return addr.IsLoopback()
	}
	return slices.ContainsFunc(o.From, func(p netip.Prefix) bool { return p.Contains(addr) })
}
