package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Knocker measures when the mail host begins to refuse a source. It knocks at
// a port that nobody listens on, from an address that need not exist: each SYN
// is answered at once with a reset (RFC 9293 section 3.10.7.1), unless it was
// dropped before, whoever dropped it.
type Knocker struct {
	lab   *Lab
	sock  *os.File
	fd    int
	ether []byte
	port  uint16
	buf   [2048]byte
}

// flagRST is that of RFC 9293 section 3.1.
const flagRST = 0x04

const (
	knockEvery = 10 * time.Microsecond // or as often as the kernel wakes a sleeper
	// A source is refused when this long and this often nothing came back;
	// that it was is then known of the first of those knocks.
	refusedTime  = 10 * time.Millisecond
	refusedCount = 40
)

// Knocker opens a knocker at port.
func (l *Lab) Knocker(port uint16) (*Knocker, error) {
	k := &Knocker{lab: l, port: port}
	var mail, world []byte
	err := l.Mail.Do(func() error {
		link, err := netlink.LinkByName(Interface)
		if err == nil {
			mail = link.Attrs().HardwareAddr
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open knocker: %w", err)
	}
	err = l.World.Do(func() error {
		link, err := netlink.LinkByName(WorldInterface)
		if err != nil {
			return err
		}
		world = link.Attrs().HardwareAddr
		k.sock, err = packetSocket(link.Attrs().Index)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open knocker: %w", err)
	}
	k.fd = int(k.sock.Fd())
	if err := unix.SetNonblock(k.fd, true); err != nil {
		return nil, fmt.Errorf("open knocker: %w", err)
	}
	k.ether = append(append([]byte{}, mail...), world...)
	return k, nil
}

// Close closes the knocker.
func (k *Knocker) Close() error { return k.sock.Close() }

// Refusal knocks from an IPv4 address until it is answered, calls trigger, and
// goes on until it is not answered any more. It returns the time from before
// trigger to the first knock without an answer; that is too long by the time
// between two knocks at most.
func (k *Knocker) Refusal(ctx context.Context, from netip.Addr, limit time.Duration, trigger func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // else sleeping takes 50 µs more
	var sent []time.Time
	last := -1 // knock that was answered
	knock := func() error {
		frame := synFrame(k.ether, netip.AddrPortFrom(from, 20000), netip.AddrPortFrom(Mail4, k.port))
		number(frame, uint32(len(sent)))
		sent = append(sent, time.Now())
		if _, err := unix.Write(k.fd, frame); err != nil {
			return fmt.Errorf("knock: %w", err)
		}
		ts := unix.NsecToTimespec(int64(knockEvery))
		_ = unix.Nanosleep(&ts, nil)
		last = max(last, k.answers(from))
		return ctx.Err()
	}
	for begun := time.Now(); last < 20; {
		if err := knock(); err != nil {
			return 0, err
		}
		if time.Since(begun) > time.Second {
			return 0, fmt.Errorf("knock from %v: refused from the beginning", from)
		}
	}
	begun := time.Now()
	if err := trigger(); err != nil {
		return 0, err
	}
	for {
		if err := knock(); err != nil {
			return 0, err
		}
		if first := last + 1; len(sent)-first >= refusedCount && time.Since(sent[first]) > refusedTime {
			return sent[first].Sub(begun), nil
		}
		if time.Since(begun) > limit {
			return 0, fmt.Errorf("knock from %v: still answered after %v", from, limit)
		}
	}
}

// answers reads what has come and returns the number of the last knock that
// it answers, -1 for none.
func (k *Knocker) answers(from netip.Addr) int {
	last := -1
	for {
		n, err := unix.Read(k.fd, k.buf[:])
		if err != nil {
			return last
		}
		src, dst, tcp := segment(k.buf[:n])
		if src == Mail4 && dst == from && len(tcp) > 13 && tcp[13]&flagRST != 0 {
			last = max(last, int(binary.BigEndian.Uint32(tcp[8:])-1))
		}
	}
}

// number gives an IPv4 frame of synFrame a sequence number, and corrects the
// checksum (RFC 1624).
func number(frame []byte, sequence uint32) {
	tcp := frame[etherLen+ip4Len:]
	binary.BigEndian.PutUint32(tcp[4:], sequence)
	sum := uint32(^binary.BigEndian.Uint16(tcp[16:])) + sequence>>16 + sequence&0xffff
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
}
