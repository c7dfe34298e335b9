package intake

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Bounds of what senders can make a receiver hold: at the worst every
// connection has a message of maxNetworkMessage half way through.
const (
	maxConnections = 512
	maxPerSender   = 64
	// maxFrameTime is how long a message may take from its first byte to its
	// last. Between messages a sender may be silent for as long as it likes;
	// one that is gone is found by the kernel's keepalive.
	maxFrameTime = 30 * time.Second
)

// tcpListener receives streams of messages, RFC 6587.
type tcpListener struct {
	l *net.TCPListener
	o SyslogOptions
	m *meter

	frameTime time.Duration

	mu      sync.Mutex
	open    map[*net.TCPConn]netip.Addr
	closing bool
	served  sync.WaitGroup
}

func listenTCP(o SyslogOptions, m *meter) (listener, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(o.Address))
	if err != nil {
		return nil, listenError(o, err)
	}
	return &tcpListener{l: l, o: o, m: m, frameTime: maxFrameTime, open: make(map[*net.TCPConn]netip.Addr)}, nil
}

func (t *tcpListener) receive(q *queue) error {
	defer t.served.Wait()
	failed := false
	for {
		conn, err := t.l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of file descriptors, as a rule
			failed = true
			t.m.trouble(err)
			time.Sleep(100 * time.Millisecond)
			continue
		case failed:
			failed = false
			t.m.trouble(nil)
		}
		addr := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !t.admit(conn, addr) {
			conn.Close()
			continue
		}
		t.served.Go(func() {
			defer t.forget(conn)
			t.serve(conn, addr.String(), q)
		})
	}
}

// admit notes conn, unless its sender may not send, or there are too many.
func (t *tcpListener) admit(conn *net.TCPConn, addr netip.Addr) bool {
	now := time.Now()
	if !t.o.admits(addr) {
		t.m.refused(addr, now)
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	same := 0
	for _, other := range t.open {
		if other == addr {
			same++
		}
	}
	switch {
	case t.closing:
		return false
	case len(t.open) >= maxConnections || same >= maxPerSender:
		t.m.lost(lostConnections, 1, now)
		return false
	}
	t.open[conn] = addr
	return true
}

func (t *tcpListener) forget(conn *net.TCPConn) {
	t.mu.Lock()
	delete(t.open, conn)
	t.mu.Unlock()
	conn.Close()
}

// serve reads one connection to its end. A message that does not come whole
// is not used: cut short it might name another address than it did.
func (t *tcpListener) serve(conn *net.TCPConn, sender string, q *queue) {
	f := newFramer(maxNetworkMessage)
	limited := false // a message has begun and must end in time
	for {
		n, err := conn.Read(f.space())
		f.wrote(n)
		now := time.Now()
		whole, framing := t.take(f, sender, q, now)
		pending := f.pending()
		switch {
		case framing != nil:
			t.m.lost(lostFraming, 1, now)
			t.m.log.Debug("stream is no syslog messages", "sender", sender, "error", framing)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.m.lost(lostSlow, 1, now)
			return
		case err != nil && pending:
			t.m.lost(lostUnfinished, 1, now)
			return
		case err != nil:
			return
		case pending && (whole || !limited):
			limited = true
			conn.SetReadDeadline(now.Add(t.frameTime))
		case !pending && limited:
			limited = false
			conn.SetReadDeadline(time.Time{})
		}
	}
}

// take puts the whole messages that f holds into the queue, and says whether
// there were any.
func (t *tcpListener) take(f *framer, sender string, q *queue, now time.Time) (some bool, err error) {
	for {
		message, cut, ok, err := f.next()
		if err != nil || !ok {
			return some, err
		}
		some = true
		if cut {
			t.m.cut()
		}
		if !q.put(message, sender) {
			t.m.lost(lostQueueFull, 1, now)
		}
	}
}

// close lets each connection read what has arrived, and no more.
func (t *tcpListener) close() {
	t.l.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	for conn := range t.open {
		conn.CloseRead()
	}
	time.AfterFunc(lastCall, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for conn := range t.open {
			conn.Close()
		}
	})
}
