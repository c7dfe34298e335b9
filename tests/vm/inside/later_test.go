package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// After a reboot of that host: blocks are back before Postfix is. Then the
// package goes, and comes again.
func TestBoot2(t *testing.T) {
	h := mustHost(t)
	old, next := h.version("old"), h.version("new")
	h.step("blocks are back before Postfix answers", func(h *host) {
		h.wantActive("enforce", next)
		h.poll("the good client to be greeted", func() bool { return h.greeted(good.String()) > 0 })
		if at := h.greeted(attacker.String()); at > 0 {
			h.Errorf("the guesser was greeted %d µs after the boot", at)
		}
		ready, begun, greeted := h.since("weir", "ActiveEnter"), h.since("postfix@-", "InactiveExit"), h.greeted(good.String())
		if ready == 0 || begun < ready || greeted < ready {
			h.Errorf("weir was ready at %d µs, Postfix began at %d, its first greeting came at %d", ready, begun, greeted)
		}
		h.Logf("weir was ready %d ms before Postfix was started, and %d ms before its first greeting", (begun-ready)/1000, (greeted-ready)/1000)
		h.wantReachable(false, attacker)
	})
	h.step("the system is well", func(h *host) {
		h.wantWell()
		h.wantNoDenial()
	})
	h.step("downgrade", func(h *host) {
		h.must("dpkg -i %s/old.deb", h.run) // which warns that it is one
		h.wantActive("enforce", old)
		h.wantReachable(false, attacker)
		if !h.listed(attacker, "guessing") {
			h.Error("the decision is gone")
		}
	})
	h.step("disabled stays disabled, and stopped, through an upgrade", func(h *host) {
		h.must("systemctl disable --now weir && dpkg -i %s/new.deb", h.run)
		h.want("disabled", "systemctl is-enabled weir")
		h.want("inactive", "systemctl is-active weir")
		h.must("systemctl enable --now weir")
		h.wantActive("enforce", next)
	})
	h.step("remove takes it out of the kernel and keeps state and configuration", func(h *host) {
		h.must("dpkg -r weir")
		h.wantReachable(true, attacker)
		h.wantNothingInKernel()
		h.must("test -s %s && test -d %s && id weir", configuration, stateFolder)
		h.want("inactive", "systemctl is-active weir")
	})
	h.step("installed again, it goes on where it was", func(h *host) {
		h.must("dpkg -i %s/new.deb", h.run)
		h.wantActive("enforce", next)
		h.wantReachable(false, attacker)
	})
	h.step("purge leaves nothing", func(h *host) {
		h.must("dpkg -P weir")
		h.wantReachable(true, attacker)
		h.wantNothingInKernel()
		h.want("", "getent passwd weir; getent group weir")
		h.want("", "find / -xdev -name '*weir*' -not -path '/proc/*' -not -path '/var/lib/dpkg/*' -not -path '/mnt/*' -not -path '/tmp/*'; ls -d /run/weir 2>/dev/null")
		h.want("", "systemctl list-units --all --no-legend 'weir*' | grep -v not-found")
		h.want("", "find / -xdev \\( -nouser -o -nogroup \\) -not -path '/proc/*'")
	})
	h.step("installed anew, it observes", func(h *host) {
		h.install("new")
		h.want("enabled", "systemctl is-enabled weir")
		h.wantActive("observe", next)
	})
	h.step("enforcement has to be confirmed, with the drop-in", (*host).confirmEnforcement)
	h.step("panic", func(h *host) {
		h.must("weir panic --reason 'the wrong people'")
		h.wantReachable(true, attacker)
	})
}

// A panic outlasts a reboot. Then the package goes, and comes as an .rpm.
func TestBoot3(t *testing.T) {
	h := mustHost(t)
	h.step("a panic is kept over the reboot until it is lifted", func(h *host) {
		h.poll("the source that is refused to be greeted", func() bool { return h.greeted(attacker.String()) > 0 })
		if s := h.status(); s.Panic == nil || s.Panic.By != "root" || s.Panic.Reason != "the wrong people" || s.Mode != "observe" {
			h.Errorf("panic %+v, mode %s", s.Panic, s.Mode)
		}
		h.must("weir panic --lift")
		h.poll("the source to be refused", func() bool { return !h.lab.Reachable(h.Context(), attacker, 587) })
		h.wantReachable(true, good)
		if s := h.status(); s.Panic != nil || s.Mode != "enforce" {
			h.Errorf("lifted, panic %+v, mode %s", s.Panic, s.Mode)
		}
		h.wantNoDenial()
	})
	h.step("the .rpm: installed, upgraded, removed, installed again", func(h *host) {
		h.must("dpkg -P weir")
		h.tryRPM()
		h.wantNoDenial()
		h.must("rm %s", configuration)
	})
}

// After a boot without a configuration there is no weir, and all else is well.
func TestBoot4(t *testing.T) {
	h := mustHost(t)
	h.step("a boot without weir.toml is one without weir", func(h *host) {
		h.want("enabled", "systemctl is-enabled weir")
		h.want("inactive", "systemctl is-active weir")
		h.want("no", "systemctl show -P ConditionResult weir")
		h.poll("Postfix to greet", func() bool { return h.greeted(attacker.String()) > 0 })
		h.wantWell()
		h.wantNothingInKernel()
	})
}

// confirmEnforcement begins to enforce as docs/decisions/lockout.md says for a
// host that is reached over the network.
func (h *host) confirmEnforcement() {
	const dropIn = "/etc/systemd/system/weir.service.d/confirm.conf"
	h.write(dropIn, h.block("decisions/lockout.md", "ini"))
	h.must(`sed -i 's/^mode = .*/mode = "enforce"/' %s && systemctl daemon-reload && systemctl restart weir`, configuration)
	h.must("weir pin %s --action drop", attacker)
	h.wantReachable(false, attacker)
	first := h.status()
	if c := first.Confirm; c == nil || c.Reverted || time.Until(c.Until) > 10*time.Minute {
		h.Fatalf("it waits for %+v", c)
	}
	h.must("systemctl kill --signal KILL weir")
	h.poll("systemd to start it again", func() bool {
		pid, _ := h.sh("systemctl show -P MainPID weir")
		active, _ := h.sh("systemctl is-active weir")
		return active == "active" && pid != fmt.Sprint(first.PID)
	})
	if c := h.status().Confirm; c == nil || !c.Until.Equal(first.Confirm.Until) {
		h.Errorf("started again it waits for %+v, before for %+v", c, first.Confirm)
	}
	h.wantReachable(false, attacker)
	h.must("weir confirm")
	if c := h.status().Confirm; c != nil {
		h.Errorf("confirmed, it waits for %+v", c)
	}
	h.must("rm -r %s && systemctl daemon-reload", filepath.Dir(dropIn))
	h.wantReachable(false, attacker)
}

// wantWell wants every unit to have started; the journal of one that has not is
// shown.
func (h *host) wantWell() {
	h.Helper()
	h.want("running", "systemctl is-system-running --wait")
	h.want("", "systemctl --failed --no-legend --plain | while read -r unit rest; do echo $unit; journalctl -b -u $unit --no-pager | tail -n 20; done")
}

// wantNothingInKernel looks at the interface and at the pins.
func (h *host) wantNothingInKernel() {
	h.Helper()
	h.want("", "ip -d link show eth0 | grep -E 'xdp|prog'; tc qdisc show dev eth0 | grep clsact")
	h.want("", "ls -A %s 2>/dev/null", pinFolder)
}

// since returns when a unit reached a point of its start, in µs after the boot,
// 0 if it has not.
func (h *host) since(unit, point string) int64 {
	n, _ := strconv.ParseInt(h.must("systemctl show -P %sTimestampMonotonic %s", point, unit), 10, 64)
	return n
}

// greeted returns when a source was first greeted, 0 if never (package world).
func (h *host) greeted(source string) int64 {
	text, err := os.ReadFile("/run/knocks")
	if err != nil {
		h.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 3 && words[1] == source && words[2] == "true" {
			at, _ := strconv.ParseInt(words[0], 10, 64)
			return at
		}
	}
	return 0
}
