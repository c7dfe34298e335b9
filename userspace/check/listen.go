package check

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// TCP states of /proc/net/tcp (linux/tcp_states.h).
const (
	established = "01"
	listening   = "0A"
)

// Sockets are the TCP sockets of a network namespace.
type Sockets struct {
	Listening []uint16                // ports that are served from outside, ascending
	Peers     map[uint16][]netip.Addr // who is connected, by local port
}

// LookAtSockets reads /proc/net/tcp and tcp6 below root (proc(5)).
func LookAtSockets(root fs.FS) (s Sockets, err error) {
	s.Peers = make(map[uint16][]netip.Addr)
	read := 0
	for _, name := range []string{"proc/self/net/tcp", "proc/self/net/tcp6"} {
		text, err := fs.ReadFile(root, name)
		if errors.Is(err, fs.ErrNotExist) { // IPv6 may be off
			continue
		}
		if err != nil {
			return s, fmt.Errorf("list sockets: %w", err)
		}
		read++
		for line := range strings.Lines(string(text)) {
			s.take(strings.Fields(line))
		}
	}
	if read == 0 {
		return s, errors.New("list sockets: /proc/self/net/tcp is not there")
	}
	slices.Sort(s.Listening)
	s.Listening = slices.Compact(s.Listening)
	return s, nil
}

// take takes a line: number, local address, peer, state, …
func (s *Sockets) take(fields []string) {
	if len(fields) < 4 {
		return
	}
	local, ok := endpoint(fields[1])
	if !ok {
		return
	}
	switch fields[3] {
	case listening:
		if !local.Addr().IsLoopback() {
			s.Listening = append(s.Listening, local.Port())
		}
	case established:
		if peer, ok := endpoint(fields[2]); ok && !slices.Contains(s.Peers[local.Port()], peer.Addr()) {
			s.Peers[local.Port()] = append(s.Peers[local.Port()], peer.Addr())
		}
	}
}

// endpoint reads "0100007F:0019": words of 32 bits in the byte order of the host.
func endpoint(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	n, errPort := strconv.ParseUint(port, 16, 16)
	if err != nil || errPort != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	if littleEndian() {
		for i := 0; i < len(b); i += 4 {
			slices.Reverse(b[i : i+4])
		}
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}

func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }
