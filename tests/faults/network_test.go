package faults

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"weir/tests/lab"
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
	found, err := filepath.Glob(filepath.Join(s.lab.Path("bpf", "weir"), "maps_*", "prefixes*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("pins of tables of prefixes: %v, %v", found, err)
	}
	deleted := 0
	for _, path := range found {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Type() != ebpf.LPMTrie {
			continue
		}
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
