package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// Intake is one input to read.
type Intake struct {
	Type    string         // "file", "journal" or "syslog"
	Path    string         // file: the log; syslog: the socket to listen on; journal: a journal directory, or empty for the system's
	Units   []string       // journal: units to read; empty for all
	Network string         // syslog: "unix", or "udp" or "tcp"
	Address netip.AddrPort // syslog over udp or tcp: where to listen
	From    []netip.Prefix // syslog over udp or tcp: who may send; empty for this host alone
	Line    int            // where the file says it, for messages
}

// intakes reads what is to be read: tables, or "auto" in place of them. TOML
// has no room for both under one name, so "auto" is a type as well.
func (c *Config) intakes(top *section) {
	if v, found := top.get("intake"); found && v == Auto {
		c.Auto = true
		return
	} else if text, ok := v.(string); ok {
		top.fail("intake", "is "+shown(text), `write intake = "auto", or begin with a line [[intake]]`)
		return
	}
	taken := make(map[string]int)
	for _, s := range top.sections("intake") {
		in := Intake{Line: s.line("")}
		in.Type = s.text("type", "file")
		place := "path"
		switch in.Type {
		case "file":
			if _, given := s.get("path"); !given {
				s.fail("path", "is missing", `write which, such as path = "/var/log/mail.log"`)
			}
			s.absolute("path", &in.Path)
		case "journal":
			s.absolute("path", &in.Path)
			in.Units = s.texts("units", "postfix@-.service")
		case "syslog":
			place = s.syslog(&in)
		case Auto:
			place = "type"
			c.Auto = true
		case "":
			if !s.broken["type"] {
				s.fail("type", "is missing", knownTypes)
			}
		default:
			s.fail("type", fmt.Sprintf("is %q", in.Type), knownTypes)
		}
		if s.broken["type"] {
			for _, key := range []string{"path", "units", "listen", "from"} {
				s.get(key)
			}
		}
		s.finish()
		key := fmt.Sprint(in.Type, " ", in.Network, " ", in.Path, " ", in.Address)
		if line, found := taken[key]; found && !s.broken[place] && !s.broken["type"] {
			s.fail(place, fmt.Sprintf("is read by the intake of line %d already", line), "remove one of the two")
		}
		taken[key] = in.Line
		if in.Type != Auto {
			c.Intakes = append(c.Intakes, in)
		}
	}
}

const knownTypes = `write "file", "journal", "syslog" or "auto"`

// syslog reads where messages are received, and returns the key that says it.
func (s *section) syslog(in *Intake) string {
	const example = "udp:127.0.0.1:514"
	_, path := s.get("path")
	_, listen := s.get("listen")
	switch {
	case path && listen:
		s.fail("listen", "and path are both given", "keep one of them")
		s.broken["path"] = true
	case path:
		in.Network = "unix"
		s.absolute("path", &in.Path)
	case !listen:
		s.fail("path", "is missing", fmt.Sprintf(`write where to listen, such as path = "/run/weir/log.sock" or listen = %q`, example))
	}
	from := s.senders()
	if listen && !path {
		s.listen(in, from, example)
	}
	if _, given := s.get("from"); given && in.Network == "unix" {
		s.fail("from", "goes with a network alone", "remove it: the permissions of a socket in the file system say who may write to it")
	}
	if listen {
		return "listen"
	}
	return "path"
}

// listen reads transport and address.
func (s *section) listen(in *Intake, from []netip.Prefix, example string) {
	text := s.text("listen", example)
	network, rest, _ := strings.Cut(text, ":")
	address, err := netip.ParseAddrPort(rest)
	switch {
	case text == "":
	case network == "unix" && filepath.IsAbs(rest) && !strings.ContainsRune(rest, 0):
		in.Network, in.Path = network, filepath.Clean(rest)
	case network != "udp" && network != "tcp", err != nil, address.Port() == 0:
		s.fail("listen", "is "+shown(text), `write transport, address and port, such as "udp:127.0.0.1:514", "tcp:[::1]:601" or "unix:/run/weir/log.sock"`)
	case len(from) == 0 && !address.Addr().Unmap().IsLoopback() && !s.broken["from"]:
		s.fail("listen", fmt.Sprintf("is %q, which others can reach", text),
			`say who may send, as he can have anybody shut out: from = ["192.0.2.0/28"]; or listen on 127.0.0.1 or [::1]`)
	default:
		in.Network, in.Address, in.From = network, address, from
	}
}

// senders reads the addresses that may send. They are taken as they are: a
// host is not the net around it.
func (s *section) senders() (from []netip.Prefix) {
	for i, text := range s.texts("from", "192.0.2.0/28") {
		if text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err == nil {
				a = a.Unmap()
				p, err = a.WithZone("").Prefix(a.BitLen())
			}
		}
		if err != nil || p.Addr().Is4In6() {
			s.failElement("from", i, fmt.Sprintf("holds %q, which is no address or prefix", text), `write such as "192.0.2.7" or "2001:db8::/32"`)
			continue
		}
		from = append(from, p.Masked())
	}
	slices.SortFunc(from, netip.Prefix.Compare)
	return slices.Compact(from)
}
