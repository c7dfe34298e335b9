package check

import (
	"errors"
	"strings"
)

// Unit is weir.service, as systemctl show tells of it.
type Unit struct {
	NotSeen    error
	Properties map[string]string
}

// LookAtUnit asks systemctl, by run.
func LookAtUnit(run func(name string, args ...string) (string, error)) Unit {
	out, err := run("systemctl", "show", "weir.service", "--property="+strings.Join([]string{
		"LoadState", "ActiveState", "Result", "UnitFileState", "NeedDaemonReload", "NRestarts", "RestrictAddressFamilies", "IPAddressAllow", "IPAddressDeny",
	}, ","))
	if err != nil {
		return Unit{NotSeen: errors.New("systemctl does not answer: no systemd runs here, or not as the first process")}
	}
	u := Unit{Properties: make(map[string]string)}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			u.Properties[key] = value
		}
	}
	return u
}

// IsEnabled reports whether the unit starts at boot.
func (u *Unit) IsEnabled() bool { return u.Properties["UnitFileState"] == "enabled" }

func unit(f *Facts, b *book) {
	u := &f.Unit
	if u.NotSeen != nil {
		b.unseen("weir.service", u.NotSeen, "where weir is not started by systemd, nothing is to be done")
		return
	}
	p := u.Properties
	if p["LoadState"] != "loaded" {
		b.add(Note, "weir.service", "make install installs it", "there is no such unit (%s)", p["LoadState"])
		return
	}
	switch state := p["ActiveState"]; {
	case state == "failed":
		b.add(Error, "weir.service", "journalctl -u weir -e tells why; systemctl restart weir", "it has failed (%s)", p["Result"])
	case state == "active" && !u.IsEnabled():
		b.add(Warning, "weir.service", "systemctl enable weir", "it runs, and will not after a boot (%s)", p["UnitFileState"])
	case state != "active":
		b.add(Note, "weir.service", "systemctl enable --now weir", "it is %s", state)
	default:
		b.ok("weir.service", "active, and starts at boot")
	}
	if n := p["NRestarts"]; n != "" && n != "0" {
		b.add(Warning, "restarts", "journalctl -u weir tells why", "systemd has restarted it %s times since it was started", n)
	}
	if p["NeedDaemonReload"] == "yes" {
		b.add(Warning, "unit file", "systemctl daemon-reload && systemctl restart weir", "its file was changed, and systemd goes by the old one")
	}
	u.network(f.Settings.Network, b)
}

// network: the unit forbids IP unless its operator says otherwise.
func (u *Unit) network(wanted []string, b *book) {
	if len(wanted) == 0 {
		return
	}
	families := " " + strings.Replace(u.Properties["RestrictAddressFamilies"], "~", "~ ", 1) + " "
	ip := strings.TrimSpace(families) == "" || strings.Contains(families, " AF_INET ") != strings.HasPrefix(families, " ~")
	denied := u.Properties["IPAddressDeny"] != "" && u.Properties["IPAddressAllow"] == ""
	if ip && !denied {
		b.ok("network", "the unit lets the agent speak IP, which %s needs", listed(wanted))
		return
	}
	b.add(Warning, "network", "systemctl edit weir, and add: [Service] RestrictAddressFamilies=AF_INET AF_INET6 IPAddressAllow=localhost (each on a line of its own, with more addresses where the other end is not this host)",
		"%s needs IP, and the unit forbids it", listed(wanted))
}
