package intake

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxSocketPath is what fits into sockaddr_un with its final NUL, unix(7).
const maxSocketPath = 107

// maxDatagram is more than a unix datagram can hold with the usual
// net.core.wmem_max.
const maxDatagram = 256 << 10

// unixListener receives datagrams on a local socket.
type unixListener struct {
	conn *net.UnixConn
	path string
	m    *meter
}

// listenUnix makes the socket, in place of one that nobody serves any more.
func listenUnix(o SyslogOptions, m *meter) (listener, error) {
	path := o.Path
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
	if err := os.Chmod(path, o.Mode); err != nil {
		conn.Close()
		os.Remove(path)
		return nil, fmt.Errorf("syslog socket: %w", err)
	}
	wantReceiveBuffer(conn)
	return &unixListener{conn: conn, path: path, m: m}, nil
}

func (l *unixListener) receive(q *queue) error {
	defer l.conn.Close()
	buf := make([]byte, maxDatagram)
	for {
		n, err := l.conn.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("receive syslog: %w", err)
		case n == len(buf):
			l.m.lost(lostTooLong, 1, time.Now())
		case !q.put(buf[:n], ""):
			l.m.lost(lostQueueFull, 1, time.Now())
		}
	}
}

func (l *unixListener) close() {
	os.Remove(l.path)
	l.conn.SetReadDeadline(time.Now().Add(lastCall))
}
