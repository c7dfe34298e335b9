package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader"
	"weir/policy"
	"weir/tests/bench/live"
	"weir/tests/document"
	"weir/userspace/enforce"
)

// The marks between which docs/benchmarks.md has the table.
const (
	sessionsBegin = "<!-- bench-sessions writes what follows -->\n"
	sessionsEnd   = "<!-- bench-sessions wrote what stands above -->\n"
)

// Ports of the sessions: of those that are closed, and of others.
var sessionPorts = []uint16{25, 993}

// sessionHost is where all sessions lead to, in the net of clients.
var sessionHost = [4]byte{198, 19, 255, 254}

// Clients have the addresses of 198.18.0.0/15 (RFC 2544): those that are to be
// blocked the lower half, the others the upper.
const (
	sessionClients = 1 << 16
	blockedNet     = "198.18.0.0/16"
)

func sessionClient(n int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 198<<24|18<<16|uint32(n))
	return netip.AddrFrom4(a)
}

// sessionsBench is a host with real sessions of many clients.
type sessionsBench struct {
	link      *live.Link
	enforcer  *enforce.Enforcer
	listeners map[uint16]int
	next      int // client that is to be blocked
}

// runSessions measures how long newly blocked sources keep their open sessions.
func runSessions(ctx context.Context, args []string) (err error) {
	var others, many, runs int
	var to string
	flags := flag.NewFlagSet("bench sessions", flag.ContinueOnError)
	flags.IntVar(&others, "others", 8000, "`sessions` of others, half of them on a protected port")
	flags.IntVar(&many, "many", 10_000, "`sources` that are blocked at once, with a session each")
	flags.IntVar(&runs, "runs", 200, "how `often` one source is blocked; of many, a twentieth")
	flags.StringVar(&to, "update", "", "write the table to `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if others < 2 || many < 1 || runs < 1 || max(many, others) > sessionClients/2 {
		return errors.New("nothing to measure")
	}
	b := &sessionsBench{listeners: make(map[uint16]int)}
	if b.link, err = live.NewLink(); err != nil {
		return fmt.Errorf("make a link (as root?): %w", err)
	}
	defer func() { err = errors.Join(err, b.link.Close()) }()
	if err := b.link.Host.Do(b.listen); err != nil {
		return err
	}
	d, err := b.start(ctx, many)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	bystanders, err := b.join(25, sessionClients, others/2)
	if err != nil {
		return err
	}
	more, err := b.join(993, sessionClients, others-others/2)
	if err != nil {
		return err
	}
	bystanders = append(bystanders, more...)

	var text strings.Builder
	fmt.Fprintf(&text, "| newly blocked sources, beside %s sessions of others | by | median | p99 | max |\n| --- | --- | --- | --- | --- |\n", thousands(int64(others)))
	for _, c := range []struct {
		sources, runs int
		by            string
		block         func(context.Context, []netip.Prefix) error
	}{
		{1, runs, "weir", b.blockByWeir}, {1, runs, "ss -K, one command", b.blockBySS},
		{many, (runs + 19) / 20, "weir", b.blockByWeir}, {many, (runs + 19) / 20, "ss -K, one command for the net of all", b.blockBySS},
	} {
		var took []time.Duration
		for range c.runs {
			say("%d sources, %s", c.sources, c.by)
			t, err := b.measure(ctx, c.sources, c.block)
			if err != nil {
				return fmt.Errorf("%s: %w", c.by, err)
			}
			took = append(took, t)
		}
		slices.Sort(took)
		ms := func(t time.Duration) float64 { return t.Seconds() * 1e3 }
		fmt.Fprintf(&text, "| %s | %s | %.1f ms | %.1f ms | %.1f ms |\n", thousands(int64(c.sources)), c.by,
			ms(took[len(took)/2]), ms(took[len(took)*99/100]), ms(took[len(took)-1]))
	}
	if n := left(bystanders); n != 0 {
		return fmt.Errorf("%d sessions of others were closed", n)
	}
	fmt.Print(text.String())
	if to != "" {
		return document.Replace(to, sessionsBegin, sessionsEnd, text.String())
	}
	return nil
}

// listen makes every client an address of this host, and opens the ports.
func (b *sessionsBench) listen() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	net := netlink.NewIPNet([]byte{198, 18, 0, 0})
	net.Mask = []byte{255, 254, 0, 0}
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: net, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route clients: %w", err)
	}
	for _, port := range sessionPorts {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: sessionHost, Port: int(port)}), unix.Listen(fd, 128))
		}
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		b.listeners[port] = fd
	}
	return nil
}

// start has weir enforce.
func (b *sessionsBench) start(ctx context.Context, room int) (d *loader.Datapath, err error) {
	o := loader.DefaultOptions()
	o.Dir = filepath.Join(live.BPFFS, "sessions")
	o.Capacity = max(o.Capacity, 16*room)
	o.Logger = slog.New(slog.DiscardHandler)
	if err := b.link.Host.Do(func() error { d, err = loader.Open(o); return err }); err != nil {
		return nil, err
	}
	e := enforce.DefaultOptions()
	e.Table, e.Ports, e.Logger = d, sessionPorts[:1], o.Logger
	if b.enforcer, err = enforce.New(e); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	go func() { _ = b.link.Host.Do(func() error { b.enforcer.Run(ctx); return nil }) }()
	return d, nil
}

// join opens a session of each of n clients and returns the server's ends.
// The client's are left behind without a word (TCP_REPAIR, tcp(7)): processes
// may hold only so many files.
func (b *sessionsBench) join(port uint16, first, n int) (servers []int, err error) {
	err = b.link.Host.Do(func() error {
		for i := first; i < first+n; i++ {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = errors.Join(
				unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
				unix.Bind(fd, &unix.SockaddrInet4{Addr: sessionClient(i).As4()}),
				unix.Connect(fd, &unix.SockaddrInet4{Addr: sessionHost, Port: int(port)}),
				unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1),
				unix.Close(fd))
			if err != nil {
				return err
			}
			server, _, err := unix.Accept4(b.listeners[port], unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != nil {
				return err
			}
			servers = append(servers, server)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open sessions: %w", err)
	}
	return servers, nil
}

// measure blocks new sources and returns when the last of their sessions ended.
func (b *sessionsBench) measure(ctx context.Context, sources int, block func(context.Context, []netip.Prefix) error) (time.Duration, error) {
	if b.next+sources > sessionClients {
		b.next = 0
	}
	first := b.next
	b.next += sources
	servers, err := b.join(25, first, sources)
	if err != nil {
		return 0, err
	}
	prefixes := make([]netip.Prefix, sources)
	for i := range prefixes {
		prefixes[i] = netip.PrefixFrom(sessionClient(first+i), 32)
	}
	begin := time.Now()
	if err := block(ctx, prefixes); err != nil {
		return 0, err
	}
	for _, fd := range servers {
		const patience = 10_000 // ms
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, patience); err != nil || n != 1 {
			return 0, fmt.Errorf("a session goes on: %w", errors.Join(err, context.DeadlineExceeded))
		}
	}
	took := time.Since(begin)
	if n := left(servers); n != sources {
		return 0, fmt.Errorf("%d of %d sessions were closed", n, sources)
	}
	return took, nil
}

// left ends sessions, and counts those whose socket was destroyed.
func left(servers []int) (n int) {
	for _, fd := range servers {
		if _, err := unix.Read(fd, make([]byte, 1)); err == unix.ECONNABORTED {
			n++
		}
		_ = unix.Close(fd)
	}
	return n
}

// blockByWeir goes the way of every decision: into the table, and on to the
// goroutine that closes sessions.
func (b *sessionsBench) blockByWeir(_ context.Context, prefixes []netip.Prefix) error {
	changes := make([]policy.Change, len(prefixes))
	for i, p := range prefixes {
		changes[i] = policy.Change{Prefix: p, Decision: &policy.Decision{Target: policy.Target{Prefix: p}, Action: policy.Drop}}
	}
	return b.enforcer.Apply(changes)
}

// blockBySS has ss(8) close the sessions; of many sources, at best by their
// common net, in which only they may be.
func (b *sessionsBench) blockBySS(ctx context.Context, prefixes []netip.Prefix) error {
	peers := blockedNet
	if len(prefixes) == 1 {
		peers = prefixes[0].String()
	}
	args := []string{"-K", "-n", "-t", "state", "established", "sport", "=", ":25", "dst", peers}
	return b.link.Host.Do(func() error {
		if out, err := exec.CommandContext(ctx, "ss", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ss: %w: %s", err, out)
		}
		return nil
	})
}
