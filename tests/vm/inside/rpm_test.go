package inside

import (
	"strings"
	"time"
)

// tryRPM has the .rpm installed, upgraded and removed by rpm itself, beside a
// Debian's systemd. Dependencies are Debian's to know, so rpm is told to look
// for none.
func (h *host) tryRPM() {
	old, next := h.rpmVersion("old"), h.rpmVersion("new")
	h.must("rpm --initdb")
	h.rpm("-i", "old")
	h.want("weir "+old, "rpm -q --qf '%%{NAME} %%{VERSION}' weir")
	h.want("", "rpm -V --nodeps weir")
	h.want("", "rpm -ql weir | grep -v /etc/ | while read -r f; do stat -c '%%U:%%G %%n' $f; done | grep -v ^root:root")
	h.want("enabled", "systemctl is-enabled weir") // as Debian's presets say
	h.want("inactive", "systemctl is-active weir") // packages of this kind start nothing
	h.must("id weir && getent group weir-read")

	h.must(`sed -i 's/^mode = .*/mode = "enforce"/' %s && systemctl start weir`, configuration)
	h.wantActive("enforce", old)
	h.wantOwned(stateFolder, "/run/weir", pinFolder)
	h.must("weir pin %s --action drop", attacker)
	h.wantReachable(false, attacker)
	h.wantReachable(true, good)

	p, err := h.lab.Probe(attacker, 587, 5*time.Millisecond)
	if err != nil {
		h.Fatal(err)
	}
	h.rpm("-U", "new")
	if err := p.Stop(); err != nil {
		h.Error(err)
	}
	if p.Sent() < 100 || p.Through() > 0 {
		h.Errorf("while it was upgraded %d of %d packets got through", p.Through(), p.Sent())
	}
	h.Logf("%d packets while it was upgraded, none got through", p.Sent())
	h.wantActive("enforce", next) // which the configuration alone says
	h.want("", "find /etc/weir -name '*.rpm*'")
	h.want("..5....T.  c "+configuration, "rpm -V --nodeps weir")

	if out := h.must("rpm -e weir"); !strings.Contains(out, "saved as "+configuration+".rpmsave") {
		h.Errorf("rpm -e says:\n%s", out)
	}
	h.wantReachable(true, attacker)
	h.wantNothingInKernel()
	h.want("inactive", "systemctl is-active weir")
	h.want("", "rpm -q weir | grep -v 'not installed'; ls /usr/bin/weir /usr/lib/systemd/system/weir.service /etc/weir/weir.toml 2>/dev/null")
	h.must("grep -q enforce %s.rpmsave && test -s %s/audit.log && id weir", configuration, stateFolder)

	h.must("mv %s.rpmsave /etc/weir/kept", configuration)
	h.rpm("-i", "new")
	h.must("cp /etc/weir/kept %s && systemctl start weir", configuration)
	h.wantActive("enforce", next)
	h.wantReachable(false, attacker) // it goes on where it was
	h.want("enabled", "systemctl is-enabled weir")
}

// rpm runs rpm, which on a Debian wants to be told that it is meant.
func (h *host) rpm(what, name string) {
	h.Helper()
	out := h.must("rpm %s --nodeps --force-debian %s/%s.rpm", what, h.run, name)
	for line := range strings.Lines(out) {
		// What Debian has to say about its use, and systemd-sysusers of whom it makes.
		if said := strings.TrimSpace(line); said != "" && !strings.HasPrefix(said, "rpm: ") && !strings.HasPrefix(said, "Creating ") {
			h.Errorf("rpm %s says %s", what, said)
		}
	}
}

func (h *host) rpmVersion(name string) string {
	h.Helper()
	return h.must("rpm -qp --qf '%%{VERSION}' %s/%s.rpm", h.run, name)
}
