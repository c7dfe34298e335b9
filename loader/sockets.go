package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sock_diag(7), linux/sock_diag.h, linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21

	diagRequestSize = 56
	diagMessageSize = 72
	diagIDSize      = 48

	// Every state of a session that somebody opened here (linux/tcp_states.h):
	// ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING.
	sessionStates = 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11
)

// DestroySockets aborts the TCP sessions whose local port is among ports and
// whose peer lies in one of the prefixes, and returns how many. Both ends see
// the connection reset. IPv4 prefixes also mean sessions of IPv6 listeners
// with IPv4-mapped peers. Listeners and everything else stay untouched.
//
// It works in the network namespace of the calling thread and looks at every
// TCP socket there once a family. Sessions that end by themselves meanwhile
// are not counted. Errors: [ErrPermission], [ErrUnsupported] (a kernel
// without CONFIG_INET_DIAG_DESTROY).
func DestroySockets(prefixes []netip.Prefix, ports []uint16) (n int, err error) {
	if len(prefixes) == 0 || len(ports) == 0 {
		return 0, nil
	}
	peers := newPrefixSet(prefixes)
	local := make(map[uint16]bool, len(ports))
	for _, p := range ports {
		local[p] = true
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		doomed, err := findSessions(family, peers, local)
		if err != nil {
			return n, err
		}
		destroyed, err := destroy(family, doomed)
		n += destroyed
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// diagID is struct inet_diag_sockid as the kernel gave it: ports, addresses,
// interface and a cookie that tells this socket from a later one.
type diagID [diagIDSize]byte

// diagRequest is struct inet_diag_req_v2.
type diagRequest struct {
	family uint8
	states uint32
	id     diagID
}

func (r *diagRequest) Len() int { return diagRequestSize }

func (r *diagRequest) Serialize() []byte {
	b := make([]byte, diagRequestSize)
	b[0], b[1] = r.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], r.states)
	copy(b[8:], r.id[:])
	return b
}

func findSessions(family uint8, peers prefixSet, local map[uint16]bool) ([]diagID, error) {
	found, err := whole(func() (found []diagID, err error) {
		req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		req.AddData(&diagRequest{family: family, states: sessionStates})
		err = req.ExecuteIter(unix.NETLINK_INET_DIAG, 0, func(msg []byte) bool {
			// struct inet_diag_msg: family, state, timer, retrans, id …
			if len(msg) < diagMessageSize {
				return true
			}
			id := diagID(msg[4 : 4+diagIDSize])
			if local[binary.BigEndian.Uint16(id[0:])] && peers.contains(peerOf(family, &id)) {
				found = append(found, id)
			}
			return true
		})
		return found, err
	})
	// A dump that changed underway misses nothing that was there throughout.
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list sockets: %w", explain(err))
	}
	return found, nil
}

func peerOf(family uint8, id *diagID) netip.Addr {
	const peer = 4 + 16 // after the ports and the local address
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(id[peer : peer+4]))
	}
	return netip.AddrFrom16([16]byte(id[peer : peer+16])).Unmap()
}

func destroy(family uint8, doomed []diagID) (n int, err error) {
	for _, id := range doomed {
		req := nl.NewNetlinkRequest(sockDestroy, unix.NLM_F_ACK)
		req.AddData(&diagRequest{family: family, states: sessionStates, id: id})
		_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
		switch {
		case err == nil:
			n++
		case errors.Is(err, unix.ENOENT): // ended by itself
		default:
			return n, fmt.Errorf("destroy socket of %s: %w", peerOf(family, &id), explain(err))
		}
	}
	return n, nil
}

// prefixSet finds the prefix of an address with one look-up for each length
// that occurs.
type prefixSet struct {
	prefixes map[netip.Prefix]bool
	lengths4 []int
	lengths6 []int
}

func newPrefixSet(prefixes []netip.Prefix) prefixSet {
	s := prefixSet{prefixes: make(map[netip.Prefix]bool, len(prefixes))}
	var seen4, seen6 [129]bool
	for _, p := range prefixes {
		if !p.IsValid() {
			continue
		}
		s.prefixes[p.Masked()] = true
		seen, lengths := &seen6, &s.lengths6
		if p.Addr().Is4() {
			seen, lengths = &seen4, &s.lengths4
		}
		if !seen[p.Bits()] {
			seen[p.Bits()] = true
			*lengths = append(*lengths, p.Bits())
		}
	}
	return s
}

func (s prefixSet) contains(a netip.Addr) bool {
	lengths := s.lengths6
	if a.Is4() {
		lengths = s.lengths4
	}
	for _, bits := range lengths {
		if p, err := a.Prefix(bits); err == nil && s.prefixes[p] {
			return true
		}
	}
	return false
}
