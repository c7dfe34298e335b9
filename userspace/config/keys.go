package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"weir/policy"
)

// maxInterfaceName is IFNAMSIZ of linux/if.h without the final NUL.
const maxInterfaceName = 15

func (c *Config) interfaces(top *section) {
	v, found := top.get("interfaces")
	if !found || v == Auto {
		return
	}
	if text, ok := v.(string); ok {
		top.fail("interfaces", "is one text", fmt.Sprintf(`write "auto", or a list: interfaces = [%q]`, text))
		return
	}
	names := top.texts("interfaces", "eth0")
	if len(names) == 0 && !top.broken["interfaces"] {
		top.fail("interfaces", "is an empty list", `name an interface, or write interfaces = "auto"`)
	}
	for i, name := range names {
		_, err := filepath.Match(name, "")
		switch {
		case name == "":
		case name == Auto && len(names) > 1:
			top.failElement("interfaces", i, `mixes "auto" with names`, `write either names or "auto"`)
		case err != nil:
			top.failElement("interfaces", i, fmt.Sprintf("holds the broken pattern %q", name), "close its bracket, or write the name out")
		case strings.ContainsAny(name, "/ \t\n\x00") || !strings.ContainsAny(name, "*?[") && len(name) > maxInterfaceName:
			top.failElement("interfaces", i, fmt.Sprintf("holds %q, which no interface is called", name), "write a name as `ip link` shows it")
		}
	}
	c.Interfaces = names
}

// SSH is the port by which administrators commonly reach a host.
const SSH = 22

func (c *Config) ports(top *section) {
	list := top.list("ports", "[25, 465, 587]")
	if list == nil {
		return
	}
	c.Ports = nil
	for i, v := range list {
		n, ok := v.(int64)
		if !ok || n < 1 || n > 65535 {
			top.failElement("ports", i, "holds "+shown(v), "write TCP ports from 1 to 65535, without quotes")
			continue
		}
		c.Ports = append(c.Ports, uint16(n))
		if n == SSH {
			top.doc.warn(top.elementLine("ports", i), "ports holds 22, by which administrators reach the host: who is flagged, rightly or not, is shut out of it",
				"remove 22, or let allow name the networks that you log in from")
		}
	}
	if len(list) == 0 {
		top.fail("ports", "is an empty list", "name a port, or remove the line for 25, 465 and 587")
	}
	slices.Sort(c.Ports)
	c.Ports = slices.Compact(c.Ports)
}

func (c *Config) allow(top *section) {
	for i, text := range top.texts("allow", "192.0.2.0/24") {
		if text == "" {
			continue
		}
		p, err := policy.ParsePrefix(text)
		if err != nil {
			top.failElement("allow", i, fmt.Sprintf("holds %q, which is no address or prefix", text), `write such as "192.0.2.7" or "2001:db8::/32"`)
			continue
		}
		c.Allow = append(c.Allow, p)
	}
	slices.SortFunc(c.Allow, netip.Prefix.Compare)
	c.Allow = slices.Compact(c.Allow)
}

// protectKinds are those who can be protected without being named, as the
// protect package finds them.
func protectKinds() []string { return []string{"own", "gateways", "administrators", "proxies"} }

func (c *Config) protect(top *section) {
	if _, found := top.get("protect"); !found {
		return
	}
	kinds := protectKinds()
	c.Protect = nil
	for i, word := range top.texts("protect", "gateways") {
		switch {
		case word == "":
		case !slices.Contains(kinds, word):
			top.failElement("protect", i, fmt.Sprintf("holds %q", word), "write some of "+enumerate(kinds)+", or [] for nobody")
		default:
			c.Protect = append(c.Protect, word)
		}
	}
}
