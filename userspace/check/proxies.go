package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/userspace/mailconf"
)

// proxies: packets of all clients behind one carry its address, so that it
// must never be shut out.
func proxies(f *Facts, b *book) {
	spoken := proxyPorts(f.Servers.Postfix)
	found := len(spoken) > 0
	var seen []netip.Prefix
	for _, t := range f.Servers.trusted() {
		if t.Prefix.Addr().IsLoopback() || slices.Contains(seen, t.Prefix) {
			continue
		}
		seen, found = append(seen, t.Prefix), true
		by := fmt.Sprintf("%s trusts it as a proxy (%s)", t.Server, t.Key)
		switch why, spared := f.Settings.spares(t.Prefix); {
		case spared:
			b.ok(t.Prefix.String(), "%s, and it is never shut out (%s)", by, why)
		case t.Prefix.Bits() == 0:
			b.add(Warning, t.Prefix.String(), "name the proxies alone in "+t.Key+" ("+t.File+"), and in allow",
				"%s, which is everybody: whoever connects may say who he is", by)
		default:
			b.add(Warning, t.Prefix.String(), fmt.Sprintf("add it to allow, or the proxies that are in it: allow = [%q]", t.Prefix), "%s, and it may be shut out: with it all clients behind it", by)
		}
	}
	for _, s := range spoken {
		s.examine(f, b)
	}
	if !found {
		b.ok("none", "no mail server here is configured to trust one")
	}
}

// proxyPort is a port on which Postfix speaks the PROXY protocol.
type proxyPort struct {
	port uint16
	name string // in master.cf
	key  string
}

func proxyPorts(all []*mailconf.Postfix) (out []proxyPort) {
	for _, p := range all {
		for i := range p.Services {
			s := &p.Services[i]
			key := map[string]string{"smtpd": "smtpd_upstream_proxy_protocol", "postscreen": "postscreen_upstream_proxy_protocol"}[s.Command]
			if value, _ := p.Value(s, key); s.Type == "inet" && key != "" && strings.TrimSpace(value) != "" {
				out = append(out, proxyPort{s.Port(), s.Name, key})
			}
		}
	}
	return out
}

// examine: Postfix names no proxies, but who is connected there is one.
func (s *proxyPort) examine(f *Facts, b *book) {
	var strangers, known []string
	for _, peer := range f.Servers.Peers.Peers[s.port] {
		if peer.IsLoopback() {
			continue
		}
		if _, spared := f.Settings.spares(netip.PrefixFrom(peer, peer.BitLen())); spared {
			known = append(known, peer.String())
		} else {
			strangers = append(strangers, peer.String())
		}
	}
	subject := "port " + s.name
	const behind = "what is decided about a client finds no packet of it, as those carry the proxy's address"
	switch {
	case len(strangers) > 0:
		b.add(Warning, subject, fmt.Sprintf("allow = [%q], and all other proxies", strings.Join(strangers, `", "`)),
			"Postfix speaks the PROXY protocol there (%s), and %s, connected now, may be shut out, with all clients behind it; %s", s.key, listed(strangers), behind)
	case len(known) > 0:
		b.ok(subject, "Postfix speaks the PROXY protocol there (%s); %s, connected now, is never shut out; %s", s.key, listed(known), behind)
	default:
		b.add(Warning, subject, "let allow name every proxy that connects there; check again while one does",
			"Postfix speaks the PROXY protocol there (%s) and names no proxies; nobody is connected now, so it cannot be seen who they are; %s", s.key, behind)
	}
}
