package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection, as the kernel knew it
// when the connection was made.
type peer struct {
	uid, gid uint32
	pid      int32
	groups   []uint32 // supplementary
	role     role
	sudoer   string // who became root for this, where root says so
}

// peerOf asks the kernel who conn comes from (SO_PEERCRED and SO_PEERGROUPS,
// unix(7)). It asks nobody else: a name service that is slow or down must
// not keep the operator out.
func peerOf(conn *net.UnixConn) (peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	var p peer
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = err
			return
		}
		p = peer{uid: cred.Uid, gid: cred.Gid, pid: cred.Pid}
		p.groups, failed = peerGroups(int(fd))
	})
	if err := errors.Join(err, failed); err != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	return p, nil
}

// peerGroups reads SO_PEERGROUPS (Linux 4.13).
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size/4) > len(groups): // the kernel said how many there are
			groups = make([]uint32, size/4)
		default:
			return nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", errno)
		}
	}
}

// role is what a peer may do.
type role int

const (
	stranger role = iota // nothing
	reader               // see what is decided and how the agent is
	operator             // change it
)

// roles tell who has which role, besides root and the agent's own user, who are
// operators.
type roles struct {
	self      uint32 // user the agent runs as
	operators int    // group; negative: none
	readers   int    // group; negative: none
}

// of returns what p may do.
func (r *roles) of(p *peer) role {
	switch {
	case p.uid == 0 || p.uid == r.self || p.isIn(r.operators):
		return operator
	case p.isIn(r.readers):
		return reader
	}
	return stranger
}

// isIn reports whether p is a member of the group gid; a negative gid is no
// group.
func (p *peer) isIn(gid int) bool {
	return gid >= 0 && (p.gid == uint32(gid) || slices.Contains(p.groups, uint32(gid)))
}

// name returns the user's name for logs, or "uid N" where it has none.
func (p *peer) name() string {
	id := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// peerKey is the key of a connection's peer in its context.
type peerKey struct{}

// guestKey finds the connection of a request.
type guestKey struct{}

func peerFrom(ctx context.Context) (peer, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	return p, ok
}
