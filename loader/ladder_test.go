package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// foreignProgram passes everything and belongs to somebody else.
func foreignProgram(t *testing.T, kind ebpf.ProgramType, answer int32) *ebpf.Program {
	t.Helper()
	attach := ebpf.AttachNone
	if kind == ebpf.XDP {
		attach = ebpf.AttachXDP
	}
	p := must(ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, AttachType: attach, License: "GPL", Name: "foreign",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, answer), asm.Return()},
	}))
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (ns *namespace) index(t testing.TB, name string) (index int) {
	t.Helper()
	ns.do(t, func() { index = must(netlink.LinkByName(name)).Attrs().Index })
	return index
}

// placesHere are those that the running kernel has; TCX came with 6.6.
func placesHere(t *testing.T) []place {
	t.Helper()
	needKernel(t)
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress})
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return []place{placeXDP, placeClsact}
	}
	return places()
}

// trafficControl is the best way of standing in traffic control here.
func trafficControl(t *testing.T) place { return placesHere(t)[1] }

// only makes a datapath try some places alone, as where the others are missing.
func only(d *Datapath, where ...place) *Datapath {
	d.rungs = slices.DeleteFunc(ladder(DefaultOptions().Modes), func(r rung) bool { return !slices.Contains(where, r.where) })
	return d
}

// Another XDP program keeps its place, and weir goes on beside it. When it
// leaves, the next start goes back, and nothing flagged gets through meanwhile.
func TestBesideForeignProgram(t *testing.T) {
	beside := trafficControl(t)
	for name, attach := range map[string]func(t *testing.T, ns *namespace, p *ebpf.Program) (detach func()){
		"link": func(t *testing.T, ns *namespace, p *ebpf.Program) func() {
			var l link.Link
			ns.do(t, func() {
				l = must(link.AttachXDP(link.XDPOptions{Program: p, Interface: ns.index(t, "eth0")}))
			})
			return func() { mustDo(t, l.Close()) }
		},
		"generic link": func(t *testing.T, ns *namespace, p *ebpf.Program) func() {
			var l link.Link
			ns.do(t, func() {
				l = must(link.AttachXDP(link.XDPOptions{Program: p, Interface: ns.index(t, "eth0"), Flags: link.XDPGenericMode}))
			})
			return func() { mustDo(t, l.Close()) }
		},
		"netlink": func(t *testing.T, ns *namespace, p *ebpf.Program) func() {
			set := func(fd int) {
				ns.do(t, func() {
					mustDo(t, netlink.LinkSetXdpFdWithFlags(must(netlink.LinkByName("eth0")), fd, nl.XDP_FLAGS_DRV_MODE))
				})
			}
			set(p.FD())
			return func() { set(-1) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			program := foreignProgram(t, ebpf.XDP, xdpPass)
			id := uint32(idOf(program))
			ns, far := newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			detach := attach(t, ns, program)
			o := testOptions(t)
			d := mustOpen(t, o)
			mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
			f := follow(t, d, ns, "eth0")
			f.wantMode(t, "eth0", string(beside), fmt.Sprintf("another XDP program (foreign, id %d) holds eth0 and is left alone", id))
			if got := ns.xdpID(t, "eth0"); got != id {
				t.Errorf("program %d is attached, want the foreign one, %d", got, id)
			}
			p := startProbe(t, far, "far0", ns, "eth0")
			p.more(t, 10)

			restart := func(mode string) {
				t.Helper()
				f.stop()
				mustDo(t, d.Close())
				p.more(t, 10)
				d = mustOpen(t, o)
				f = follow(t, d, ns, "eth0")
				f.wantMode(t, "eth0", mode, "")
				p.more(t, 10)
			}
			restart(string(beside))
			detach()
			// It may be about to come back: whoever runs stays where it is.
			ns.do(t, func() { must(d.sync([]string{"eth0"})) })
			if got := ns.xdpID(t, "eth0"); got != 0 {
				t.Errorf("program %d took the place of one that has just left", got)
			}
			restart(ModeNative)
			if hooks := must(d.pins.hooks()); len(hooks) != 1 || hooks[0].where != placeXDP || slices.Contains(tcxIn(t, ns, "eth0"), idOf(d.objects.WeirTc)) { // what sends answers may be there
				t.Errorf("after going back: pins %v, TCX %v", hooks, tcxIn(t, ns, "eth0"))
			}
			if n := p.flagged.Load(); n != 0 {
				t.Errorf("%d flagged packets got past", n)
			}
			f.stop()
			ns.do(t, func() { mustDo(t, d.Remove()) })
			eventually(t, "flagged packets arrive once the program is gone", func() bool { return p.flagged.Load() > 0 })
		})
	}
}

func tcxIn(t testing.TB, ns *namespace, name string) (ids []ebpf.ProgramID) {
	t.Helper()
	ns.do(t, func() { ids = tcxPrograms(must(netlink.LinkByName(name)).Attrs().Index) })
	return ids
}

// Whoever is put before weir in traffic control decides first, and status says
// so; whoever was there before comes after.
func TestOthersInTrafficControl(t *testing.T) {
	for _, where := range placesHere(t)[1:] {
		t.Run(string(where), func(t *testing.T) {
			ns, far := newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			pass := foreignProgram(t, ebpf.SchedCLS, 0) // TC_ACT_OK: nobody behind it is asked
			index := ns.index(t, "eth0")
			put := func(handle uint32, first bool) {
				t.Helper()
				ns.do(t, func() {
					if where == placeTCX {
						anchor := link.Tail()
						if first {
							anchor = link.Head()
						}
						l := must(link.AttachTCX(link.TCXOptions{Program: pass, Interface: index, Attach: ebpf.AttachTCXIngress, Anchor: anchor}))
						t.Cleanup(func() { _ = l.Close() })
						pass = foreignProgram(t, ebpf.SchedCLS, 0)
						return
					}
					f := (&clsactHook{index: index}).filter(pass)
					f.Name, f.Handle = "foreign", handle
					mustDo(t, netlink.FilterReplace(f))
				})
			}
			if where == placeClsact { // an ingress discipline will do, too
				ns.do(t, func() {
					mustDo(t, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_INGRESS}}))
				})
			}
			put(1, false)
			d := only(mustOpen(t, testOptions(t)), where)
			mustDo(t, d.Put(Entry{Prefix: prefix(flaggedSource + "/32"), Action: ActionDrop}))
			f := follow(t, d, ns, "eth0")
			f.wantMode(t, "eth0", string(where), "")
			if got := f.of("eth0").Reason; strings.Contains(got, "decides first") {
				t.Errorf("reason %q, though weir was put before the others", got)
			}
			p := startProbe(t, far, "far0", ns, "eth0")
			p.more(t, 10)
			if n := p.flagged.Load(); n != 0 {
				t.Errorf("%d flagged packets got past", n)
			}
			f.stop()
			put(2, true)
			f = follow(t, d, ns, "eth0")
			f.wantMode(t, "eth0", string(where), "decides first")
			f.stop()
			ns.do(t, func() { mustDo(t, d.Remove()) })
		})
	}
}

// A filter of another kind may hold the preference that decides first.
func TestPreferenceIsTaken(t *testing.T) {
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	ns.do(t, func() {
		index := must(netlink.LinkByName("eth0")).Attrs().Index
		mustDo(t, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_INGRESS}}))
		mustDo(t, netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_IP},
			Fd:          foreignProgram(t, ebpf.SchedCLS, 0).FD(), Name: "foreign", DirectAction: true,
		}))
	})
	d := only(mustOpen(t, testOptions(t)), placeClsact)
	f := follow(t, d, ns, "eth0")
	f.wantMode(t, "eth0", ModeNone, "another filter has preference 1 of eth0, which weir needs to decide first: give it a higher number (tc filter show dev eth0 ingress)")
}
