package faults

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
)

// TestInterface takes the mail host's interface down, renames it, moves it to
// another namespace, and removes it. Whenever it is there again under its name,
// blocked sources are refused on it, without anybody's help.
func TestInterface(t *testing.T) {
	h := mustHost(t, "")
	h.must("pin", pinned4.String(), "--action", "drop")
	h.refuses()
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"down and up", func() {
			h.ip(h.lab.Mail, "link set eth0 down")
			h.ip(h.lab.Mail, "link set eth0 up")
		}},
		{"renamed, and named as before", func() {
			h.ip(h.lab.Mail, "link set eth0 down")
			h.ip(h.lab.Mail, "link set eth0 name other0 up")
			h.mustSee("eth0", false)
			h.ip(h.lab.Mail, "link set other0 down")
			h.ip(h.lab.Mail, "link set other0 name eth0 up")
		}},
		{"moved away and back", func() {
			h.ip(h.lab.Mail, "link set eth0 netns "+h.lab.World.Name)
			h.mustSee("eth0", false)
			h.ip(h.lab.World, "link set eth0 netns "+h.lab.Mail.Name)
			h.ip(h.lab.Mail, "link set eth0 up")
		}},
		{"removed and made anew", func() {
			h.ip(h.lab.Mail, "link del eth0")
			h.mustSee("eth0", false)
			if err := h.lab.Connect(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		step.do()
		begun := time.Now()
		h.mustSee("eth0", true)
		h.refuses()
		t.Logf("%s: refused again within %s", step.name, time.Since(begun).Round(time.Millisecond))
	}
	select {
	case <-h.weir.Exited():
		t.Error("the agent has ended")
	default:
	}
}

func (h *host) ip(n *lab.Namespace, args string) {
	h.Helper()
	cmd := exec.Command("ip", strings.Fields(args)...)
	if err := n.Do(cmd.Run); err != nil {
		h.Fatalf("ip %s: %v", args, err)
	}
}

// mustSee waits until the agent protects an interface, or not.
func (h *host) mustSee(name string, protected bool) {
	h.Helper()
	h.mustPoll(name+" to come or to go", func() bool {
		s := h.mustStatus()
		for _, i := range s.Interfaces {
			if i.Name == name {
				return (i.Mode != "none") == protected
			}
		}
		return !protected
	})
}

// refuses sees that packets of the blocked source do not get through where those
// of another do.
func (h *host) refuses() {
	h.Helper()
	through := map[netip.Addr]uint64{}
	for _, from := range []netip.Addr{pinned4, free4} {
		p, err := h.lab.Probe(from, 587, time.Millisecond)
		if err != nil {
			h.Fatal(err)
		}
		h.mustPoll("packets to be sent", func() bool { return p.Sent() >= 100 })
		through[from] = p.Through()
		if err := p.Stop(); err != nil {
			h.Fatal(err)
		}
	}
	if through[pinned4] != 0 || through[free4] == 0 {
		h.Errorf("of 100 packets each %d of the blocked source and %d of the other got through", through[pinned4], through[free4])
	}
}
