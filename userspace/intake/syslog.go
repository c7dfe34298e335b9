package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
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
// datagrams cannot be read again.
func (s *Syslog) Run(ctx context.Context, _ Position, sink Sink) error {
	defer s.m.state(StateStopped)
	<-ctx.Done()
	return nil
}
