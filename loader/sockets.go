package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

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
// It works in the network namespace of the calling thread, and has the kernel
// look at every TCP socket there once a family. Sessions that end by
// themselves meanwhile are not counted. Errors: [ErrPermission], [ErrUnsupported] (a kernel
// without CONFIG_INET_DIAG_DESTROY).
func DestroySockets(prefixes []netip.Prefix, ports []uint16) (n int, err error) {
	if len(prefixes) == 0 || len(ports) == 0 {
		return 0, nil
	}
	local := make(map[uint16]bool, len(ports))
	for _, p := range ports {
		local[p] = true
	}
	filter := socketFilter(ports, prefixes)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sessions, err := findSessions(family, local, filter)
		if err != nil {
			return n, err
		}
		destroyed, err := destroy(family, within(prefixes, family, sessions))
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

// findSessions returns the sessions of these local ports. The filter spares the
// kernel to tell of others, or of most of them.
func findSessions(family uint8, local map[uint16]bool, filter []byte) ([]diagID, error) {
	found, err := WholeDump(func() (found []diagID, err error) {
		req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		req.AddData(&diagRequest{family: family, states: sessionStates})
		req.AddData(nl.NewRtAttr(diagBytecode, filter))
		err = req.ExecuteIter(unix.NETLINK_INET_DIAG, 0, func(msg []byte) bool {
			// struct inet_diag_msg: family, state, timer, retrans, id …
			if len(msg) < diagMessageSize {
				return true
			}
			id := diagID(msg[4 : 4+diagIDSize])
			if local[binary.BigEndian.Uint16(id[0:])] {
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

// destroyBatch is how many sockets are destroyed by one system call, few enough
// that the kernel's answers about those that it could not destroy find room.
const destroyBatch = 128

// destroy destroys sockets. The kernel does it while they are being named, and
// answers only where it could not (netlink(7): no NLM_F_ACK).
func destroy(family uint8, doomed []diagID) (n int, err error) {
	if len(doomed) == 0 {
		return 0, nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("open socket to destroy sockets: %w", explain(err))
	}
	defer unix.Close(fd)
	message := make([]byte, 0, destroyBatch*(unix.SizeofNlMsghdr+diagRequestSize))
	answers := make([]byte, os.Getpagesize())
	for batch := range slices.Chunk(doomed, destroyBatch) {
		message = message[:0]
		for i := range batch {
			message = appendDestroy(message, family, &batch[i], i)
		}
		if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return n, fmt.Errorf("destroy sockets: %w", explain(err))
		}
		n += len(batch)
		for {
			size, _, err := unix.Recvfrom(fd, answers, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				return n, fmt.Errorf("destroy sockets: %w", err)
			}
			which, errno := diagAnswer(answers[:size])
			switch {
			case errno == 0 || which >= len(batch):
			case errno == unix.ENOENT: // ended by itself
				n--
			default:
				n-- // and whatever came after it
				return n, fmt.Errorf("destroy socket of %s: %w", peerOf(family, &batch[which]), explain(errno))
			}
		}
	}
	return n, nil
}

// appendDestroy appends the message that destroys a socket, by its number.
func appendDestroy(b []byte, family uint8, id *diagID, number int) []byte {
	b = binary.NativeEndian.AppendUint32(b, unix.SizeofNlMsghdr+diagRequestSize)
	b = binary.NativeEndian.AppendUint16(b, sockDestroy)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, uint32(number))
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel fills it in
	return append(b, (&diagRequest{family: family, states: sessionStates, id: *id}).Serialize()...)
}

// diagAnswer reads an error message (struct nlmsghdr, struct nlmsgerr): which
// message it is about, and what went wrong, 0 for nothing.
func diagAnswer(b []byte) (number int, errno unix.Errno) {
	if len(b) < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return 0, 0
	}
	number = int(binary.NativeEndian.Uint32(b[8:]))
	return number, unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])))
}

// within returns those sessions whose peer lies in one of prefixes. Of these there
// may be a million, and as a rule there are far fewer sessions: it is their
// prefixes, of each length that occurs, that are looked up.
func within(prefixes []netip.Prefix, family uint8, sessions []diagID) []diagID {
	if len(sessions) == 0 {
		return nil
	}
	var lengths4, lengths6 lengths
	for _, p := range prefixes {
		switch {
		case !p.IsValid():
		case p.Addr().Is4():
			lengths4.add(p.Bits())
		default:
			lengths6.add(p.Bits())
		}
	}
	around := make(map[netip.Prefix][]int) // sessions by each prefix around their peer
	for i := range sessions {
		peer := peerOf(family, &sessions[i])
		occurring := &lengths6
		if peer.Is4() {
			occurring = &lengths4
		}
		for _, bits := range occurring.all {
			if p, err := peer.Prefix(bits); err == nil {
				around[p] = append(around[p], i)
			}
		}
	}
	if len(around) == 0 {
		return nil
	}
	var doomed []diagID
	taken := make([]bool, len(sessions))
	for _, p := range prefixes {
		for _, i := range around[p.Masked()] {
			if !taken[i] {
				taken[i] = true
				doomed = append(doomed, sessions[i])
			}
		}
	}
	return doomed
}

// lengths are the prefix lengths that occur.
type lengths struct {
	seen [129]bool
	all  []int
}

func (l *lengths) add(bits int) {
	if !l.seen[bits] {
		l.seen[bits] = true
		l.all = append(l.all, bits)
	}
}
