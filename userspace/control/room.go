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
//
// Who is no operator has half of the places at most, and takes none of an
// operator's.
type room struct {
	*net.UnixListener
	roles   roles
	size    int
	full    func()      // somebody is turned away
	unknown func(error) // nobody knows who somebody is, who is sent away

	mu     sync.Mutex
	open   int
	others int                 // of them, that are no operators'
	silent map[bool]*list.List // of *guest, the longest first: operators', and the others'
}

func newRoom(l *net.UnixListener, r roles, size int, full func(), unknown func(error)) *room {
	return &room{UnixListener: l, roles: r, size: size, full: full, unknown: unknown, silent: map[bool]*list.List{true: list.New(), false: list.New()}}
}

// guest is a connection in a room.
type guest struct {
	*net.UnixConn
	room   *room
	peer   peer
	silent *list.Element // nil: a request is being answered, or it has left
	left   bool
}

func (g *guest) isOperator() bool { return g.peer.role == operator }

func (r *room) Accept() (net.Conn, error) {
	for {
		conn, err := r.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(conn)
		if err != nil {
			r.unknown(err)
			_ = conn.Close()
			continue
		}
		p.role = r.roles.of(&p)
		g := &guest{UnixConn: conn, room: r, peer: p}
		if r.enter(g) {
			return g, nil
		}
		r.full()
		turnAway(conn)
	}
}

// enter finds a place for g, if it can.
func (r *room) enter(g *guest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open >= r.size || !g.isOperator() && r.others >= max(r.size/2, 1) {
		longest := r.silent[false].Front()
		if longest == nil && g.isOperator() {
			longest = r.silent[true].Front()
		}
		if longest == nil {
			return false
		}
		before := longest.Value.(*guest)
		r.leave(before)
		_ = before.UnixConn.Close() // its goroutine is told by that
	}
	r.open++
	if !g.isOperator() {
		r.others++
	}
	g.silent = r.silent[g.isOperator()].PushBack(g)
	return true
}

// leave gives a place back. The lock is held.
func (r *room) leave(g *guest) {
	if g.left {
		return
	}
	g.left = true
	r.open--
	if !g.isOperator() {
		r.others--
	}
	r.speaks(g)
}

// speaks takes g from those who are silent. The lock is held.
func (r *room) speaks(g *guest) {
	if g.silent != nil {
		r.silent[g.isOperator()].Remove(g.silent)
		g.silent = nil
	}
}

// asks notes that a whole request of g is there, and returns what is to be
// called when it is answered.
func (r *room) asks(g *guest) (answered func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.speaks(g)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !g.left {
			g.silent = r.silent[g.isOperator()].PushBack(g)
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
