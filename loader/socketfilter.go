package loader

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// The kernel can be told which sockets a dump is to have, by a program of its
// own kind of bytecode (linux/inet_diag.h, net/ipv4/inet_diag.c; ss(8) filters
// so). Each operation says how many bytes to go on when its condition holds and
// when it does not; a jump to the very end accepts, one beyond it rejects.
const (
	diagBytecode = 1 // INET_DIAG_REQ_BYTECODE

	bytecodeJump      = 1  // INET_DIAG_BC_JMP: goes on as if the condition did not hold
	bytecodePeer      = 8  // INET_DIAG_BC_D_COND
	bytecodeLocalPort = 11 // INET_DIAG_BC_S_EQ

	bytecodeSize = 4 // struct inet_diag_bc_op: u8 code, u8 yes, u16 no

	// maxPeers and maxPorts are how many the kernel is told: it compares one
	// after the other.
	maxPeers = 16
	maxPorts = 64
)

// socketFilter accepts sockets whose local port is among ports and whose peer is
// in one of prefixes, unless there are too many of either. IPv4 prefixes also
// mean mapped peers.
func socketFilter(ports []uint16, prefixes []netip.Prefix) []byte {
	var local, peers [][]byte
	if len(ports) <= maxPorts {
		for _, p := range ports {
			local = append(local, localPortIs(p))
		}
	}
	if len(prefixes) <= maxPeers {
		for _, p := range prefixes {
			if p.IsValid() {
				peers = append(peers, peerIsIn(p))
			}
		}
	}
	behind := anyOf(peers, 0)
	return append(anyOf(local, len(behind)), behind...)
}

// anyOf goes on behind itself where one of the conditions holds, and rejects
// otherwise; so many bytes follow it. Each condition is an operation whose yes
// and no are filled in here.
func anyOf(conditions [][]byte, following int) []byte {
	if len(conditions) == 0 {
		return nil
	}
	// From the back, since jumps lead forward: reject, and before it each
	// condition with a jump over what is there already.
	out := jump(bytecodeSize + following + bytecodeSize)
	for _, c := range slices.Backward(conditions) {
		c[1] = byte(len(c))
		binary.NativeEndian.PutUint16(c[2:], uint16(len(c)+bytecodeSize))
		out = slices.Concat(c, jump(bytecodeSize+len(out)), out)
	}
	return out
}

func jump(by int) []byte {
	op := []byte{bytecodeJump, bytecodeSize, 0, 0}
	binary.NativeEndian.PutUint16(op[2:], uint16(by))
	return op
}

// localPortIs compares the local port with that of a second operation.
func localPortIs(port uint16) []byte {
	op := make([]byte, 2*bytecodeSize)
	op[0] = bytecodeLocalPort
	binary.NativeEndian.PutUint16(op[bytecodeSize+2:], port)
	return op
}

// peerIsIn compares the peer with a struct inet_diag_hostcond: u8 family,
// u8 prefix_len, int port, address.
func peerIsIn(p netip.Prefix) []byte {
	addr := p.Masked().Addr().AsSlice()
	op := make([]byte, bytecodeSize+8, bytecodeSize+8+len(addr))
	op[0] = bytecodePeer
	op[bytecodeSize] = unix.AF_INET6
	if p.Addr().Is4() {
		op[bytecodeSize] = unix.AF_INET
	}
	op[bytecodeSize+1] = byte(p.Bits())
	binary.NativeEndian.PutUint32(op[bytecodeSize+4:], ^uint32(0)) // any port
	return append(op, addr...)
}
