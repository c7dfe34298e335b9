package loader

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pinned opens the link that stands in a place of eth0, as bpftool would.
func (f *fault) pinned(where place) link.Link {
	return must(link.LoadPinnedLink(f.d.pins.hookPath(where, f.index), nil))
}

// fault is a datapath on eth0 that something happens to.
type fault struct {
	t     *testing.T
	d     *Datapath
	ns    *namespace
	index int
}

// otherMap opens a map as another process would.
func (f *fault) otherMap(name string) *ebpf.Map {
	return must(ebpf.LoadPinnedMap(filepath.Join(f.d.pins.dir, mapsPrefix+f.d.layout, name), nil))
}

// Whatever somebody else does to what stands in the kernel: it is found, put
// right, and counted once.
func TestReadBackRepairs(t *testing.T) {
	for _, c := range []struct {
		name  string
		where place
		words string
		do    func(*fault)
	}{
		{"XDP link detached", placeXDP, "the program was taken off eth0", func(f *fault) { mustDo(f.t, f.pinned(placeXDP).Detach()) }},
		{"TCX link detached", placeTCX, "the program was taken off eth0", func(f *fault) { mustDo(f.t, f.pinned(placeTCX).Detach()) }},
		{"XDP program replaced", placeXDP, "another program (foreign, id ", func(f *fault) {
			mustDo(f.t, f.pinned(placeXDP).Update(foreignProgram(f.t, ebpf.XDP, xdpPass)))
		}},
		{"TCX program replaced", placeTCX, "another program (foreign, id ", func(f *fault) {
			mustDo(f.t, f.pinned(placeTCX).Update(foreignProgram(f.t, ebpf.SchedCLS, -1)))
		}},
		{"clsact program replaced", placeClsact, "another program (foreign, id ", func(f *fault) {
			mustDo(f.t, (&clsactHook{index: f.index}).replace(foreignProgram(f.t, ebpf.SchedCLS, -1)))
		}},
		{"clsact filter deleted", placeClsact, "the program was taken off eth0", func(f *fault) {
			ours, _, err := (&clsactHook{index: f.index}).ours()
			mustDo(f.t, errors.Join(err, netlink.FilterDel(ours)))
		}},
		{"clsact deleted", placeClsact, "the program was taken off eth0", func(f *fault) {
			for _, q := range must(netlink.QdiscList(must(netlink.LinkByName("eth0")))) {
				if q.Type() == "clsact" {
					mustDo(f.t, netlink.QdiscDel(q))
				}
			}
		}},
		{"pin folder removed", placeXDP, "the pin folder ", func(f *fault) { mustDo(f.t, os.RemoveAll(f.d.pins.dir)) }},
		{"pin folder removed, TCX", placeTCX, "the pin folder ", func(f *fault) { mustDo(f.t, os.RemoveAll(f.d.pins.dir)) }},
		{"pin folder removed, clsact", placeClsact, "the pin folder ", func(f *fault) { mustDo(f.t, os.RemoveAll(f.d.pins.dir)) }},
		{"link's pin removed", placeXDP, "the pin of what is attached", func(f *fault) { mustDo(f.t, os.Remove(f.d.pins.hookPath(placeXDP, f.index))) }},
		{"a map's pin removed", placeXDP, "pins of maps were removed", func(f *fault) {
			mustDo(f.t, os.Remove(filepath.Join(f.d.pins.dir, mapsPrefix+f.d.layout, datapathMapSources6)))
		}},
		{"ports changed", placeXDP, "passed, which is to be dropped", func(f *fault) {
			mustDo(f.t, f.otherMap(datapathMapPorts).Put(uint32(0), datapathPortSet{}))
		}},
		{"ports changed, TCX", placeTCX, "passed, which is to be dropped", func(f *fault) {
			mustDo(f.t, f.otherMap(datapathMapPorts).Put(uint32(0), datapathPortSet{}))
		}},
		{"table cleared", placeXDP, "passed, which is to be dropped", func(f *fault) {
			m := f.otherMap(datapathMapVerdicts6)
			for i := range m.MaxEntries() {
				mustDo(f.t, m.Put(i, make([]byte, m.ValueSize())))
			}
		}},
		{"a source that nothing stands against", placeXDP, "was dropped, which nothing stands against", func(f *fault) {
			mustDo(f.t, f.d.tables.Put(Entry{Prefix: canarySources()[1].source, Action: ActionDrop}))
		}},
	} {
		if !slices.Contains(placesHere(t), c.where) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			ns, far := newNamespace(t), newNamespace(t)
			ns.quiet(t)
			far.quiet(t)
			veth(t, ns, "eth0", far, "far0")
			d := only(dropped(t), c.where)
			look := func() Checks {
				t.Helper()
				ns.do(t, func() { must(d.sync([]string{"eth0"})) })
				return d.Checks()
			}
			look()
			if got := look(); got.Differences != 0 || got.Done != 2 || got.Last.IsZero() {
				t.Fatalf("before anything happened: %+v", got)
			}
			ns.do(t, func() { c.do(&fault{t: t, d: d, ns: ns, index: ns.index(t, "eth0")}) })
			got := look()
			if got.Differences != 1 || got.Repaired != 1 || !strings.Contains(got.Difference, c.words) {
				t.Fatalf("%+v, want one difference, repaired, with %q", got, c.words)
			}
			if got := look(); got.Differences != 1 {
				t.Errorf("what was repaired differs again: %+v", got)
			}

			var out int
			far.do(t, func() { out = packetSocket("far0") })
			defer unix.Close(out)
			wantCounted(t, d, "dropped", 54, func() { must(unix.Write(out, syn4(""))) })

			// What was restored can be taken over.
			o := Options{Dir: d.pins.dir, Capacity: 1 << 10, Ports: []uint16{25}, Modes: DefaultOptions().Modes, Now: time.Now, Logger: d.log}
			if _, err := Open(o); !errors.Is(err, ErrInUse) {
				t.Errorf("the folder is not held: %v", err)
			}
			mustDo(t, d.Close())
			d = only(mustOpen(t, o), c.where)
			if got := look(); got.Differences != 0 {
				t.Errorf("after the next start: %+v", got)
			}
			wantCounted(t, d, "dropped", 54, func() { must(unix.Write(out, syn4(""))) })
			ns.do(t, func() { mustDo(t, d.Remove()) })
		})
	}
}

// A moved interface takes the program along, and the link still names its
// index. The one that gets this index afterwards is not taken for it.
func TestReadBackOtherInterfaceOfThatIndex(t *testing.T) {
	for _, where := range placesHere(t) {
		if where == placeClsact {
			continue // its filter does not move along
		}
		t.Run(string(where), func(t *testing.T) {
			ns, far, other := newNamespace(t), newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			d := only(dropped(t), where)
			look := func() {
				t.Helper()
				ns.do(t, func() { must(d.sync([]string{"eth0"})) })
			}
			look()
			index := ns.index(t, "eth0")
			ns.do(t, func() {
				mustDo(t, netlink.LinkSetNsFd(must(netlink.LinkByName("eth0")), int(other.handle)))
				pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "far1", PeerNamespace: netlink.NsFd(far.handle)}
				pair.Name, pair.Index = "eth0", index
				mustDo(t, netlink.LinkAdd(pair))
			})
			look()
			ns.do(t, func() {
				a := d.attached[index]
				if id, err := a.holds(must(netlink.LinkByName("eth0"))); err != nil || id == 0 || id != a.program {
					t.Errorf("the new eth0 holds program %d, want %d (%v)", id, a.program, err)
				}
			})
			// The kernel lets a link go a moment after its last holder did.
			eventually(t, "the one that was moved away is let go", func() bool {
				return other.xdpID(t, "eth0") == 0 && len(tcxIn(t, other, "eth0")) == 0
			})
			mustDo(t, d.Remove())
		})
	}
}

// looker returns what has d look at eth0 of ns, and gives what it has found so far.
func looker(t *testing.T, ns *namespace, d *Datapath) func() Checks {
	return func() Checks {
		t.Helper()
		ns.do(t, func() { must(d.sync([]string{"eth0"})) })
		return d.Checks()
	}
}

// What cannot be put right is counted once, until it is.
func TestReadBackTellsOnce(t *testing.T) {
	o := testOptions(t)
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	d := mustOpen(t, o)
	look := looker(t, ns, d)
	look()
	mustDo(t, os.RemoveAll(o.Dir))
	thief := mustOpen(t, o) // another agent has the folder now
	for range 3 {
		if got := look(); got.Differences != 1 || got.Repaired != 0 || !strings.Contains(got.Standing, "another agent") {
			t.Errorf("%+v, want one that is not repaired", got)
		}
	}
	mustDo(t, errors.Join(thief.Remove(), thief.Close()))
	if got := look(); got.Differences != 2 || got.Repaired != 1 || got.Standing != "" {
		t.Errorf("%+v, want it to be put right", got)
	}
}

// A folder that was removed outside of the mount namespace, as it looks from
// behind weir.service's bind mount: it is still to be seen, and nothing can be
// made in it.
func TestReadBackFolderRemovedBehindMount(t *testing.T) {
	o := testOptions(t)
	behind := o.Dir
	o.Dir = t.TempDir()
	mustDo(t, os.Mkdir(behind, 0o700))
	mustDo(t, unix.Mount(behind, o.Dir, "", unix.MS_BIND, ""))
	t.Cleanup(func() { mustDo(t, unix.Unmount(o.Dir, unix.MNT_DETACH)) })
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	d := mustOpen(t, o)
	look := looker(t, ns, d)
	look()
	mustDo(t, os.RemoveAll(behind))
	for range 2 {
		got := look()
		if got.Differences != 1 || got.Repaired != 0 || !strings.Contains(got.Standing, "was removed, and cannot be made again") || !strings.Contains(got.Standing, "systemctl restart weir") {
			t.Errorf("%+v, want one difference that stands, and its remedy", got)
		}
	}
}

// Canaries are nobody's business: whoever reads the table or the counters does
// not see them, and cannot put anything in their place.
func TestCanariesAreHidden(t *testing.T) {
	o := testOptions(t)
	ns, far := newNamespace(t), newNamespace(t)
	ns.quiet(t)
	veth(t, ns, "eth0", far, "far0")
	for range 2 { // afresh, then taken over
		d := mustOpen(t, o)
		before := must(d.Counters())
		for range 3 {
			ns.do(t, func() { must(d.sync([]string{"eth0"})) })
		}
		if got := must(d.Counters()); got[len(got)-1] != before[len(before)-1] || got[0] != before[0] {
			t.Errorf("counters %v, before: %v", got, before)
		}
		for _, c := range canarySources() {
			if !Reserved(c.source) {
				t.Errorf("%s is not reserved", c.source)
			}
			mustDo(t, d.Put(Entry{Prefix: c.source, Action: ActionAllow}, Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}))
			mustDo(t, d.Delete(c.source, prefix("192.0.2.1/32")))
		}
		if got := collect(t, d); len(got) != 0 {
			t.Errorf("entries: %v", got)
		}
		for _, f := range must(d.Fill()) {
			if f.Used != 0 {
				t.Errorf("%+v", f)
			}
		}
		ns.do(t, func() { must(d.sync([]string{"eth0"})) })
		if got := d.Checks(); got.Differences != 0 {
			t.Errorf("%+v", got)
		}
		mustDo(t, d.Close())
	}
	for _, p := range []string{"192.0.0.9/32", "192.0.0.0/24", "2001:db8:86de::/64", "2001:db8:86dd::/48"} {
		if Reserved(prefix(p)) {
			t.Errorf("%s is reserved", p)
		}
	}
}

// A wider decision of the operator's concerns canaries as little as others.
func TestCanariesBesideWideEntries(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	tun(t, ns, "tun0", netlink.TUNTAP_MODE_TUN)
	d := mustOpen(t, testOptions(t))
	for _, action := range []Action{ActionDrop, ActionAllow} {
		mustDo(t, d.Put(Entry{Prefix: prefix("0.0.0.0/0"), Action: action}, Entry{Prefix: prefix("::/0"), Action: action}))
		ns.do(t, func() { must(d.sync([]string{"eth0", "tun0"})) })
	}
	if got := d.Checks(); got.Differences != 0 || got.Done != 2 {
		t.Errorf("%+v", got)
	}
	// Without ports nothing is dropped, and nothing is asked.
	mustDo(t, d.SetPorts(nil))
	ns.do(t, func() { must(d.sync([]string{"eth0", "tun0"})) })
	if got := d.Checks(); got.Differences != 0 {
		t.Errorf("%+v", got)
	}
}
