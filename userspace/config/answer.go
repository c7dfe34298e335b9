package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// DovecotPolicy says where Dovecot's auth policy requests are answered.
type DovecotPolicy struct {
	Listen     []string // "unix:PATH" or "tcp:ADDRESS:PORT"; empty: nowhere
	APIKeyFile string   // whose first line every request carries
}

// dovecotPolicy reads [dovecot_policy].
func (c *Config) dovecotPolicy(top *section) {
	s := top.section("dovecot_policy")
	if s == nil {
		return
	}
	const example = "tcp:127.0.0.1:10032"
	c.DovecotPolicy.Listen = s.sockets("listen", example)
	if _, given := s.get("listen"); !given {
		s.fail("listen", "is missing", fmt.Sprintf("write where, such as listen = [%q]", example))
	}
	if _, given := s.get("api_key_file"); !given {
		s.fail("api_key_file", "is missing", `write which file holds the key that Dovecot sends, such as api_key_file = "/etc/weir/dovecot.key"`)
	}
	s.absolute("api_key_file", &c.DovecotPolicy.APIKeyFile)
	s.finish()
}

// sockets reads where a server of this host's programs listens.
func (s *section) sockets(key, example string) (out []string) {
	texts := s.texts(key, example)
	for i, text := range texts {
		network, rest, _ := strings.Cut(text, ":")
		address, err := netip.ParseAddrPort(rest)
		switch {
		case text == "":
		case network == "unix" && filepath.IsAbs(rest) && !strings.ContainsRune(rest, 0):
			out = append(out, "unix:"+filepath.Clean(rest))
		case network != "tcp" || err != nil || address.Port() == 0:
			s.failElement(key, i, "holds "+shown(text), fmt.Sprintf("write such as %q or %q", example, "unix:/run/weir/name.sock"))
		case !address.Addr().Unmap().IsLoopback():
			s.failElement(key, i, fmt.Sprintf("holds %q, which others can reach", text), "listen on 127.0.0.1 or [::1], or on a unix socket")
		default:
			out = append(out, text)
		}
	}
	if _, given := s.get(key); given && len(texts) == 0 && !s.broken[key] {
		s.fail(key, "is an empty list", fmt.Sprintf("name a socket, such as %q, or remove the section", example))
	}
	return out
}

// DNSBL says which DNS lists are asked about sources.
type DNSBL struct {
	Zones    []string       // empty: none
	Resolver netip.AddrPort // that is asked; invalid: the system's
}

// dnsbl reads [dnsbl].
func (c *Config) dnsbl(top *section) {
	s := top.section("dnsbl")
	if s == nil {
		return
	}
	const example = "zen.spamhaus.org"
	for i, zone := range s.texts("zones", example) {
		switch {
		case zone == "":
		case !isDomain(zone):
			s.failElement("zones", i, fmt.Sprintf("holds %q, which is no domain", zone), fmt.Sprintf("write such as %q", example))
		default:
			c.DNSBL.Zones = append(c.DNSBL.Zones, strings.TrimSuffix(strings.ToLower(zone), "."))
		}
	}
	if text := s.text("resolver", "127.0.0.1:53"); text != "" {
		resolver, err := netip.ParseAddrPort(text)
		if addr, noPort := netip.ParseAddr(text); noPort == nil {
			resolver, err = netip.AddrPortFrom(addr, domainPort), nil
		}
		if err != nil || resolver.Port() == 0 {
			s.fail("resolver", fmt.Sprintf("is %q", text), `write an address, such as "127.0.0.1" or "[::1]:5353"`)
		} else {
			c.DNSBL.Resolver = resolver
		}
	}
	s.finish()
}

// domainPort is where resolvers listen (RFC 1035 section 4.2).
const domainPort = 53

// isDomain reports whether name can be a domain of the DNS or of an address.
func isDomain(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
