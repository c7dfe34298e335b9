package control

import (
	"container/list"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// room bounds how many connections are open. Who comes when it is full takes
// the place of the one that has been silent longest: that has not sent a whole
// request yet, or has had its answer. So nobody keeps others out by saying
// nothing, or half of something. Only where all are being answered is the
// newcomer turned away, with a few words.
type room struct {
	*net.UnixListener
	size int
	full func() // somebody is turned away

	mu     sync.Mutex
	open   int
	silent list.List // of *guest, the longest first
}

// guest is a connection in a room.
type guest struct {
	*net.UnixConn
	room   *room
	silent *list.Element // nil: a request is being answered, or it has left
	left   bool
}

func (r *room) Accept() (net.Conn, error) {
	for {
		conn, err := r.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if g := r.enter(conn); g != nil {
			return g, nil
		}
		r.full()
		turnAway(conn)
	}
}

// enter finds a place for conn, or returns nil.
func (r *room) enter(conn *net.UnixConn) *guest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open >= r.size {
		longest := r.silent.Front()
		if longest == nil {
			return nil
		}
		g := longest.Value.(*guest)
		r.leave(g)
		_ = g.UnixConn.Close() // its goroutine is told by that
	}
	r.open++
	g := &guest{UnixConn: conn, room: r}
	g.silent = r.silent.PushBack(g)
	return g
}

// leave gives a place back. The lock is held.
func (r *room) leave(g *guest) {
	if g.left {
		return
	}
	g.left = true
	r.open--
	if g.silent != nil {
		r.silent.Remove(g.silent)
		g.silent = nil
	}
}

// asks notes that a whole request of g is there, and returns what is to be
// called when it is answered.
func (r *room) asks(g *guest) (answered func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.silent != nil {
		r.silent.Remove(g.silent)
		g.silent = nil
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !g.left {
			g.silent = r.silent.PushBack(g)
		}
	}
}

func (g *guest) Close() error {
	g.room.mu.Lock()
	g.room.leave(g)
	g.room.mu.Unlock()
	return g.UnixConn.Close()
}

var errNoRoom = &sayError{"weir serves as many clients as it may already: try again in a moment", ErrBusy}

// turnAway tells that there is no room. The answer fits the socket's buffer,
// so that writing does not wait.
func turnAway(conn *net.UnixConn) {
	p, status := problemOf(errNoRoom)
	body, err := json.Marshal(p)
	if err == nil {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n%s: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			status, http.StatusText(status), headerProtocol, Protocol, len(body), body)
	}
	_ = conn.Close() // the client may have gone already
}

// long bounds how many requests are under way whose clients decide how long
// they take: those that send lists or read them. The others always find room.
func (s *Server) long(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request, from peer) error {
		select {
		case s.lists <- struct{}{}:
			defer func() { <-s.lists }()
			return h(w, r, from)
		default:
			s.sayFull()
			return errNoRoom
		}
	}
}
