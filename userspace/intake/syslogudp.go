package intake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxNetworkMessage bounds a message that comes over a network, in bytes: what
// a UDP datagram can hold, and eight times what RFC 5425 section 4.3.1 wants
// every receiver to take.
const maxNetworkMessage = 64 << 10

// receiveBuffer is what is asked of the kernel for a datagram socket, in
// bytes: a burst waits there while this process is not scheduled.
const receiveBuffer = 4 << 20

// wantReceiveBuffer asks for receiveBuffer. What is beyond net.core.rmem_max
// needs CAP_NET_ADMIN, and is not granted otherwise, which is no error.
func wantReceiveBuffer(conn syscall.Conn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
}

// udpListener receives one message a datagram, RFC 5426 section 3.1.
type udpListener struct {
	conn    *net.UDPConn
	o       SyslogOptions
	m       *meter
	senders map[netip.Addr]string // how they are written
	dropped uint32                // by the kernel, as it counts
}

func listenUDP(o SyslogOptions, m *meter) (listener, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(o.Address))
	if err != nil {
		return nil, listenError(o, err)
	}
	wantReceiveBuffer(conn)
	raw, err := conn.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		}), err)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen on %s: have the kernel tell what it drops: %w", o.Address, err)
	}
	return &udpListener{conn: conn, o: o, m: m, senders: make(map[netip.Addr]string)}, nil
}

// listenError adds what can be done about not being able to listen.
func listenError(o SyslogOptions, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s %v: %w; stop that or choose another port", o.Network, o.Address, ErrInUse)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("listen on %s %v: %w; if systemd runs weir, its unit lets it use no network: the comments in weir.toml tell what to add", o.Network, o.Address, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s %v: %w; a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher one", o.Network, o.Address, err)
	}
	return fmt.Errorf("listen on %s %v: %w", o.Network, o.Address, err)
}

func (l *udpListener) receive(q *queue) error {
	defer l.conn.Close()
	buf := make([]byte, maxNetworkMessage)
	control := make([]byte, unix.CmsgSpace(4))
	for {
		n, used, flags, from, err := l.conn.ReadMsgUDPAddrPort(buf, control)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return fmt.Errorf("receive syslog: %w", err)
		}
		now := time.Now()
		l.overflow(control[:used], now)
		addr := from.Addr().Unmap()
		switch {
		case !l.o.admits(addr):
			l.m.refused(addr, now)
		case flags&unix.MSG_TRUNC != 0:
			l.m.lost(lostTooLong, 1, now)
		case !q.put(buf[:n], l.sender(addr)):
			l.m.lost(lostQueueFull, 1, now)
		}
	}
}

// overflow counts what the kernel says it has dropped, SO_RXQ_OVFL in
// socket(7): the one control message that was asked for holds the number of
// drops before this datagram.
func (l *udpListener) overflow(control []byte, now time.Time) {
	at := unix.CmsgLen(0)
	if len(control) < at+4 {
		return
	}
	dropped := binary.NativeEndian.Uint32(control[at:])
	if n := dropped - l.dropped; n > 0 {
		l.m.lost(lostByKernel, uint64(n), now)
		l.dropped = dropped
	}
}

// sender writes addr, for messages that do not name their host.
func (l *udpListener) sender(addr netip.Addr) string {
	name, known := l.senders[addr]
	if !known {
		if len(l.senders) >= maxNames {
			clear(l.senders)
		}
		name = addr.String()
		l.senders[addr] = name
	}
	return name
}

func (l *udpListener) close() { l.conn.SetReadDeadline(time.Now().Add(lastCall)) }
