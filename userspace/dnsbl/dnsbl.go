package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/policy"
)

// Resolver is the part of net.Resolver that is used.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options are what a Lookup needs.
type Options struct {
	Zones    []string                           // such as "zen.spamhaus.org"
	Resolver Resolver                           //
	Found    func(addr netip.Addr, zone string) // is told of each source that a list names
	Queue    int                                // sources that may wait
	Workers  int                                // look-ups under way at once
	Timeout  time.Duration                      // of one look-up
	Remember time.Duration                      // an answer
	Known    int                                // answers that are remembered at most
	Now      func() time.Time
	Logger   *slog.Logger
}

// DefaultOptions lack the zones and who is told.
func DefaultOptions() Options {
	return Options{
		Resolver: net.DefaultResolver, Queue: 4096, Workers: 8, Timeout: 5 * time.Second,
		Remember: 6 * time.Hour, Known: 200_000, Now: time.Now, Logger: slog.Default(),
	}
}

// ResolverAt returns one that asks a server of the DNS in place of the system's.
func ResolverAt(server netip.AddrPort) Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.String())
	}}
}

// Validate reports what in o cannot work.
func (o *Options) Validate() error {
	switch {
	case len(o.Zones) == 0:
		return errors.New("dnsbl: no zone")
	case o.Resolver == nil || o.Found == nil || o.Now == nil || o.Logger == nil:
		return errors.New("dnsbl: Resolver, Found, Now and Logger must be set")
	case o.Queue < 1 || o.Workers < 1 || o.Timeout <= 0 || o.Remember <= 0 || o.Known < 2:
		return errors.New("dnsbl: Queue, Workers, Timeout, Remember and Known must be above 0")
	}
	return nil
}

// Stats counts since the start.
type Stats struct {
	Asked  uint64 // sources
	Listed uint64 // that a list names
	Failed uint64 // look-ups without an answer
	Lost   uint64 // sources that had no room in the queue
}

// Lookup asks about sources. Ask may be called at any time from one goroutine
// or several.
type Lookup struct {
	o     Options
	queue chan netip.Addr

	mu         sync.Mutex
	young, old map[policy.Source]struct{} // asked about
	turned     time.Time                  // when young was begun

	asked, listed, failed, lost atomic.Uint64
}

// New returns a Lookup that does nothing until Run.
func New(o Options) (*Lookup, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Lookup{o: o, queue: make(chan netip.Addr, o.Queue), young: make(map[policy.Source]struct{}), turned: o.Now()}, nil
}

// Stats may be called at any time.
func (l *Lookup) Stats() Stats {
	return Stats{Asked: l.asked.Load(), Listed: l.listed.Load(), Failed: l.failed.Load(), Lost: l.lost.Load()}
}

// Ask has the lists asked about addr, unless they were lately. It does not
// wait.
func (l *Lookup) Ask(addr netip.Addr) {
	if addr = addr.Unmap().WithZone(""); !policy.Judged(addr) || addr.IsPrivate() || !l.news(policy.SourceOf(addr)) {
		return
	}
	select {
	case l.queue <- addr:
	default:
		l.lost.Add(1)
	}
}

// news reports whether nobody has asked about source lately, and notes that
// somebody does now. Two generations are kept, each for half the time.
func (l *Lookup) news(source policy.Source) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.o.Now(); len(l.young) >= l.o.Known/2 || now.Sub(l.turned) >= l.o.Remember/2 {
		if now.Sub(l.turned) >= l.o.Remember {
			l.young = nil
		}
		l.old, l.young, l.turned = l.young, make(map[policy.Source]struct{}), now
	}
	if _, found := l.young[source]; found {
		return false
	}
	if _, found := l.old[source]; found {
		return false
	}
	l.young[source] = struct{}{}
	return true
}

// Run looks up until ctx ends. A zone that names 127.0.0.1 names everybody
// and is left out (RFC 5782 section 5); so is none that does not answer now.
func (l *Lookup) Run(ctx context.Context) {
	zones := make([]string, 0, len(l.o.Zones))
	for _, zone := range l.o.Zones {
		listed, err := l.lookup(ctx, netip.AddrFrom4([4]byte{127, 0, 0, 1}), zone)
		switch {
		case listed:
			l.o.Logger.Error("a DNS list names 127.0.0.1, so it names everybody, and is not asked: remove it from zones below [dnsbl]", "zone", zone)
			continue
		case err != nil && ctx.Err() == nil:
			l.o.Logger.Warn("a DNS list gives no answer; it is asked all the same", "zone", zone, "error", err)
		}
		zones = append(zones, zone)
	}
	var workers sync.WaitGroup
	for range l.o.Workers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case addr := <-l.queue:
					l.ask(ctx, addr, zones)
				}
			}
		})
	}
	workers.Wait()
}

// ask asks one list after the other, until one names the source.
func (l *Lookup) ask(ctx context.Context, addr netip.Addr, zones []string) {
	l.asked.Add(1)
	for _, zone := range zones {
		listed, err := l.lookup(ctx, addr, zone)
		if err != nil {
			l.failed.Add(1)
			continue
		}
		if listed {
			l.listed.Add(1)
			l.o.Found(addr, zone)
			return
		}
	}
}

// lookup asks one list.
func (l *Lookup) lookup(ctx context.Context, addr netip.Addr, zone string) (listed bool, err error) {
	ctx, done := context.WithTimeout(ctx, l.o.Timeout)
	defer done()
	answers, err := l.o.Resolver.LookupNetIP(ctx, "ip4", name(addr, zone))
	if err != nil {
		var problem *net.DNSError
		if errors.As(err, &problem) && problem.IsNotFound {
			return false, nil
		}
		return false, err
	}
	for _, a := range answers {
		b := a.Unmap().As4()
		switch {
		case b[0] != 127: // not an answer of a list, but of somebody in between
		case b[1] == 255 && b[2] == 255: // 127.255.255.0/24: the list refuses to answer us
			return false, fmt.Errorf("%s answers %v: it does not serve this resolver", zone, a)
		default:
			return true, nil
		}
	}
	return false, nil
}

// name is the name that stands for addr in a list: its bytes, or its nibbles,
// backwards (RFC 5782 sections 2.1 and 2.4). The dot at the end keeps search
// domains out.
func name(addr netip.Addr, zone string) string {
	var b strings.Builder
	if addr.Is4() {
		for _, c := range reversed(addr.AsSlice()) {
			fmt.Fprintf(&b, "%d.", c)
		}
	} else {
		for _, c := range reversed(addr.AsSlice()) {
			fmt.Fprintf(&b, "%x.%x.", c&15, c>>4)
		}
	}
	return b.String() + strings.TrimSuffix(zone, ".") + "."
}

func reversed(b []byte) []byte {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}
