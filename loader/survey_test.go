package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// What a survey expects, attaching then finds; and a survey leaves nothing.
func TestSurveyExpectsWhatAttachingFinds(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*testing.T) string
		on   string
		why  string
	}{
		{"veth", plain, "eth0", ""},
		{"bridge", bridge, "br0", "driver bridge has no native XDP"},
		{"port of a bridge", bridge, "eth0", "a port of bridge br0"},
		{"macvlan", macvlan, "mac0", "driver macvlan has no native XDP"},
		{"VLAN", vlanOn("eth0"), "eth0.100", "has no native XDP"},
		{"bond", bond(netlink.BOND_MODE_ACTIVE_BACKUP), "bond0", ""},
		{"bond that cannot", bond(netlink.BOND_MODE_BROADCAST), "bond0", "native XDP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns, far := newNamespace(t), newNamespace(t)
			veth(t, ns, "eth0", far, "far0")
			var missing string
			ns.do(t, func() { missing = c.make(t) })
			if missing != "" {
				t.Skipf("SKIPPED, NOT TESTED: this kernel has no %s", missing)
			}
			var before, after []Surveyed
			ns.do(t, func() { before = must(Survey([]string{c.on})) })
			if len(before) != 1 || before[0].Name != c.on || before[0].Driver == "" || before[0].MTU == 0 || before[0].Program != "" {
				t.Fatalf("surveyed %+v", before)
			}
			expected := before[0].Expected
			if !AtLeast(Release(), 6, 3) {
				if expected != "" || !strings.Contains(strings.Join(before[0].Why, "; "), "6.3") {
					t.Errorf("of a kernel that does not tell: %q, %q", expected, before[0].Why)
				}
				return
			}
			if got := strings.Join(before[0].Why, "; "); !strings.Contains(got, c.why) {
				t.Errorf("why %s: %q, want %q in it", expected, got, c.why)
			}
			d := mustOpen(t, testOptions(t))
			follow(t, d, ns, c.on).wantMode(t, c.on, expected, "")
			ns.do(t, func() { after = must(Survey([]string{c.on})) })
			if !after[0].Ours || len(after[0].Behind) != 0 || after[0].Expected != expected {
				t.Errorf("surveyed what is ours as %+v", after[0])
			}
			ns.do(t, func() { mustDo(t, d.Remove()) })
		})
	}
}

// Programs of others are seen and left alone, and what is missing is named.
func TestSurveySeesOthers(t *testing.T) {
	beside := trafficControl(t)
	ns, far := newNamespace(t), newNamespace(t)
	veth(t, ns, "eth0", far, "far0")
	ns.do(t, func() {
		l := must(link.AttachXDP(link.XDPOptions{Program: foreignProgram(t, ebpf.XDP, xdpPass), Interface: ns.index(t, "eth0")}))
		defer l.Close()
		if beside == placeTCX {
			other := must(link.AttachTCX(link.TCXOptions{Program: foreignProgram(t, ebpf.SchedCLS, -1), Interface: ns.index(t, "eth0"), Attach: ebpf.AttachTCXIngress}))
			defer other.Close()
		}
		all := must(Survey([]string{"eth0", "nothing*"}))
		if len(all) != 2 {
			t.Fatalf("surveyed %+v", all)
		}
		s := all[0]
		if !strings.HasPrefix(s.Program, "foreign, id ") || s.Ours || s.Expected != string(beside) || !strings.Contains(strings.Join(s.Why, "; "), "another XDP program (foreign, id ") {
			t.Errorf("surveyed %+v", s)
		}
		if beside == placeTCX && (len(s.Behind) != 1 || !strings.HasPrefix(s.Behind[0], "foreign, id ")) {
			t.Errorf("at traffic control: %q", s.Behind)
		}
		if m := all[1]; m.Index != 0 || m.Expected != ModeNone || len(m.Why) != 1 {
			t.Errorf("what is missing: %+v", m)
		}
	})
	if got := ns.xdpID(t, "eth0"); got != 0 {
		t.Errorf("program %d was left", got)
	}
}

func TestTries(t *testing.T) {
	needKernel(t)
	mustDo(t, TryProgram())
	mustDo(t, TryDestroy())
	if missing := must(MissingCapabilities()); len(missing) != 0 {
		t.Errorf("missing %v", missing)
	}
}

func TestAtLeast(t *testing.T) {
	for release, want := range map[string]bool{"6.6.0-rc1": true, "6.18.44-cloud": true, "7.0": true, "6.5.13": false, "5.18.0": false, "unknown": false} {
		if got := AtLeast(release, 6, 6); got != want {
			t.Errorf("%s is at least 6.6: %v", release, got)
		}
	}
}

func TestIsOurs(t *testing.T) {
	for name, want := range map[string]bool{
		"weir_xdp, id 7": true, "weir_tc, id 7": true, "foreign, id 7": false, "id 7": false, "": false, "weir, id 7": false,
	} {
		if got := isOurs(name, datapathProgWeirXdp, datapathProgWeirTc); got != want {
			t.Errorf("%q is ours: %v", name, got)
		}
	}
}
