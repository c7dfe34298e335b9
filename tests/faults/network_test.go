package faults

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"weir/policy"
	"weir/tests/lab"
	"weir/userspace/control"
)

// TestInterfaceFaults takes the interface down, away, to other names and to
// another namespace. Whenever it is there, the program is on it again.
func TestInterfaceFaults(t *testing.T) {
	s := mustRun(t, rules)
	s.mustPin(pinned4, pinned6)
	for _, fault := range []struct {
		name string
		gone string // what status says of it while it is away
		away func() error
		back func() error
	}{
		{name: "down and up", away: s.down, back: s.up},
		{
			name: "renamed and named back", gone: "no such interface",
			away: func() error { return s.rename(lab.Interface, "wan9") },
			back: func() error { return s.rename("wan9", lab.Interface) },
		},
		{
			name: "moved to another namespace and back", gone: "no such interface",
			away: func() error { return move(s.lab.Mail, s.lab.World) },
			back: func() error { return move(s.lab.World, s.lab.Mail) },
		},
		{
			name: "removed and made again", gone: "no such interface",
			away: func() error { return s.lab.Mail.Do(func() error { return with(lab.Interface, netlink.LinkDel) }) },
			back: s.pair,
		},
	} {
		if err := fault.away(); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		if fault.gone != "" {
			s.mustPoll(lab.Patience, fault.name, func() bool {
				i := s.mustStatus().Interfaces[0]
				return i.Mode == "none" && i.Reason != ""
			})
		}
		if err := fault.back(); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		blocked, good := s.mustProbe(pinned4), s.mustProbe(good4) // the link is down, so none of their packets arrives yet
		begun := time.Now()
		if err := s.up(); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		s.mustPoll(lab.Patience, "the program to be attached after "+fault.name, func() bool { return s.mustStatus().Interfaces[0].Mode == "native" })
		took := time.Since(begun)
		before := s.mustKnock(blocked, 20)
		after := s.mustKnock(blocked, 200)
		if after != before {
			t.Errorf("%s: %d packets got through after the program was attached again", fault.name, after-before)
		}
		if fault.gone == "" && after != 0 {
			t.Errorf("%s: %d packets got through", fault.name, after)
		}
		s.mustPoll(lab.Patience, "the good source to get through", func() bool { return good.Through() > 0 })
		t.Logf("%s: attached %v after it was up, %d packets of a blocked source before that", fault.name, took.Round(time.Millisecond), before)
	}
	if got := s.mustStatus().ReadBack; got.Standing != "" {
		t.Errorf("read back: %+v", got)
	}
}

// with finds an interface of the thread's namespace.
func with(name string, do func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return do(l)
}

func (s *stage) down() error {
	return s.lab.Mail.Do(func() error { return with(lab.Interface, netlink.LinkSetDown) })
}

func (s *stage) up() error {
	if err := s.lab.World.Do(func() error { return with(lab.WorldInterface, netlink.LinkSetUp) }); err != nil {
		return err
	}
	return s.lab.Mail.Do(func() error { return with(lab.Interface, netlink.LinkSetUp) })
}

func (s *stage) rename(from, to string) error {
	return s.lab.Mail.Do(func() error {
		return with(from, func(l netlink.Link) error {
			if err := netlink.LinkSetDown(l); err != nil { // before 6.3, none that is up can be renamed
				return err
			}
			return netlink.LinkSetName(l, to)
		})
	})
}

func move(from, to *lab.Namespace) error {
	handle, err := netns.GetFromName(to.Name)
	if err != nil {
		return err
	}
	defer handle.Close()
	return from.Do(func() error {
		return with(lab.Interface, func(l netlink.Link) error { return netlink.LinkSetNsFd(l, int(handle)) })
	})
}

// pair makes the interface again, and its other end.
func (s *stage) pair() error {
	handle, err := netns.GetFromName(s.lab.World.Name)
	if err != nil {
		return err
	}
	defer handle.Close()
	return s.lab.Mail.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = lab.Interface
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: lab.WorldInterface, PeerNamespace: netlink.NsFd(handle)})
	})
}

// TestTableOfPrefixesEmptied has somebody else empty the table of prefixes;
// tests/e2e does so with that of sources, with ports, links and pins.
func TestTableOfPrefixesEmptied(t *testing.T) {
	s := mustRun(t, rules)
	if err := pin(t.Context(), s.client, "198.51.100.0/24", "a net"); err != nil {
		t.Fatal(err)
	}
	probe := s.mustProbe(pinned4)
	if n := s.mustKnock(probe, 100); n != 0 {
		t.Fatalf("%d packets got through before", n)
	}
	deleted := 0
	for _, m := range s.mustTries() {
		for {
			key, err := m.NextKeyBytes(nil)
			if err != nil {
				t.Fatal(err)
			}
			if key == nil {
				break
			}
			if err := m.Delete(key); err != nil {
				t.Fatal(err)
			}
			deleted++
		}
	}
	if deleted == 0 {
		t.Fatal("nothing was deleted")
	}
	begun := time.Now()
	s.mustPoll(20*time.Second, "the agent to notice", func() bool {
		now := s.mustStatus().ReadBack
		return now.Differences > 0 && now.Differences == now.Repaired && now.Standing == ""
	})
	t.Logf("mended after %v, %d packets had got through: %s", time.Since(begun).Round(time.Millisecond), probe.Through(), s.mustStatus().ReadBack.Difference)
	before := s.mustKnock(probe, 20)
	if n := s.mustKnock(probe, 200); n != before || before == 0 {
		t.Errorf("%d packets got through, then %d", before, n)
	}
}

// mustTries opens the pinned tables of prefixes, IPv4's first.
func (s *stage) mustTries() (tries []*ebpf.Map) {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.lab.Path("bpf", "weir"), "maps_*", "prefixes*"))
	if err != nil || len(found) != 2 {
		s.Fatalf("pins of tables of prefixes: %v, %v", found, err)
	}
	for _, path := range found {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = m.Close() })
		tries = append(tries, m)
	}
	return tries
}

// TestEntryNobodyDecided has somebody else refuse a net, a source and everybody
// by writing into the table of prefixes, beside a thousand prefixes that were
// decided. Each is noticed and removed, and who was refused gets through.
func TestEntryNobodyDecided(t *testing.T) {
	s := mustRun(t, rules)
	var nets strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&nets, "10.%d.%d.0/24\n", i/250, i%250)
	}
	nets.WriteString("198.51.100.0/24\n")
	if _, err := s.client.Pin(t.Context(), control.Terms{Action: policy.Drop, Reason: "nets"}, strings.NewReader(nets.String()), func(int) {}); err != nil {
		t.Fatal(err)
	}
	trie := s.mustTries()[0]
	key := func(bits byte, a netip.Addr) []byte { // struct prefix4
		a4 := a.As4()
		return append([]byte{bits, 0, 0, 0}, a4[:]...)
	}
	drops, err := trie.LookupBytes(key(24, netip.MustParseAddr("198.51.100.0")))
	if err != nil || drops == nil {
		t.Fatalf("the pinned net is not in the kernel's table: %v", err)
	}
	at := bytes.Index(drops, []byte{24, 0}) // where the value says how long its prefix is
	if at < 0 || bytes.Count(drops, []byte{24, 0}) != 1 {
		t.Fatalf("the entry of a /24 is %x", drops)
	}
	for _, p := range []netip.Prefix{
		netip.PrefixFrom(good4, 24).Masked(), netip.PrefixFrom(good4, 32), netip.MustParsePrefix("0.0.0.0/0"),
	} {
		before := s.mustStatus().ReadBack.Differences
		value := bytes.Clone(drops)
		value[at] = byte(p.Bits())
		if err := trie.Put(key(byte(p.Bits()), p.Addr()), value); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s.mustPoll(20*time.Second, "the agent to notice "+p.String(), func() bool {
			now := s.mustStatus().ReadBack
			return now.Differences > before && now.Differences == now.Repaired && now.Standing == ""
		})
		t.Logf("%s: removed after %v: %s", p, time.Since(begun).Round(time.Millisecond), s.mustStatus().ReadBack.Difference)
		good, blocked := s.mustProbe(good4), s.mustProbe(pinned4)
		s.mustPoll(lab.Patience, "the good source to get through", func() bool { return good.Through() > 0 })
		if n := s.mustKnock(blocked, 50); n != 0 {
			t.Errorf("%d packets of a pinned net got through", n)
		}
	}
	t.Logf("%+v", s.mustStatus().Table)
}
