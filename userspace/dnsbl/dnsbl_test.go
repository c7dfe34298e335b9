package dnsbl

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// zoneFile answers as the DNS would.
type zoneFile struct {
	mu    sync.Mutex
	names map[string]string
	asked []string
}

func (z *zoneFile) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	z.asked = append(z.asked, host)
	answer, found := z.names[host]
	z.mu.Unlock()
	switch {
	case network != "ip4":
		return nil, errors.New("wrong network " + network)
	case !found:
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	case answer == "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []netip.Addr{netip.MustParseAddr(answer)}, nil
}

func TestName(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.99":                "99.2.0.192.bad.example.",
		"2001:db8:1:2:3:4:567:89ab": "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bad.example.",
	} {
		if got := name(netip.MustParseAddr(addr), "bad.example"); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := &zoneFile{names: map[string]string{
			"7.113.0.203.one.example.":  "127.0.0.4",
			"8.113.0.203.two.example.":  "127.0.0.2",
			"9.113.0.203.one.example.":  "127.255.255.254", // refused
			"10.113.0.203.one.example.": "192.0.2.1",       // a provider's search page
			"11.113.0.203.one.example.": "hang",
			"1.0.0.127.all.example.":    "127.0.0.2", // names everybody
			"12.113.0.203.all.example.": "127.0.0.2",
		}}
		var mu sync.Mutex
		var found []string
		o := DefaultOptions()
		o.Zones, o.Resolver, o.Logger = []string{"one.example", "two.example.", "all.example"}, zone, slog.New(slog.DiscardHandler)
		o.Found = func(addr netip.Addr, zone string) {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, addr.String()+" "+zone)
		}
		l, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		for _, addr := range []string{"203.0.113.7", "203.0.113.8", "203.0.113.9", "203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.7", "127.0.0.1", "10.0.0.1", "::ffff:203.0.113.7"} {
			l.Ask(netip.MustParseAddr(addr))
		}
		time.Sleep(20 * time.Second) // of the bubble's time: the one that hangs is given up
		synctest.Wait()
		mu.Lock()
		slices.Sort(found)
		if got := strings.Join(found, ", "); got != "203.0.113.7 one.example, 203.0.113.8 two.example." {
			t.Errorf("found %s", got)
		}
		mu.Unlock()
		if s := l.Stats(); s != (Stats{Asked: 6, Listed: 2, Failed: 2}) {
			t.Errorf("counted %+v", s)
		}
		zone.mu.Lock()
		before := len(zone.asked)
		zone.mu.Unlock()
		l.Ask(netip.MustParseAddr("203.0.113.7"))
		synctest.Wait()
		zone.mu.Lock()
		if len(zone.asked) != before {
			t.Error("an answer was not remembered")
		}
		zone.mu.Unlock()
		time.Sleep(o.Remember + time.Hour)
		l.Ask(netip.MustParseAddr("203.0.113.7"))
		synctest.Wait()
		if l.Stats().Asked != 7 {
			t.Error("an answer is remembered for ever")
		}
		stop()
		<-done
	})
}

// A flood of sources costs a bounded amount of memory, and is counted.
func TestBounds(t *testing.T) {
	o := DefaultOptions()
	o.Zones, o.Found, o.Queue, o.Known = []string{"x"}, func(netip.Addr, string) {}, 10, 100
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("203.0.113.1")
	for range 1000 {
		addr = addr.Next()
		l.Ask(addr)
	}
	if n := len(l.young) + len(l.old); n > 100 || len(l.queue) != 10 || l.Stats().Lost != 990 {
		t.Errorf("%d known, %d wait, %+v", n, len(l.queue), l.Stats())
	}
}
