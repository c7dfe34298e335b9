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
	var silent []string
	for _, s := range spoken {
		if !s.examine(f, b) {
			silent = append(silent, s.name)
		}
	}
	if len(silent) > 0 {
		b.add(Warning, "ports", "let allow name every proxy that connects there; check again while one does",
			"Postfix speaks the PROXY protocol on %s and names no proxies; nobody is connected now, so it cannot be seen who they are", listed(silent))
	}
	if len(spoken) > 0 {
		b.ok("clients", "what is decided about one behind a proxy finds no packet of it, as those carry the proxy's address; policy requests and Dovecot's are answered all the same")
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

// examine: Postfix names no proxies, but who is connected there is one. It
// reports whether anybody is.
func (s *proxyPort) examine(f *Facts, b *book) bool {
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
	switch {
	case len(strangers) > 0:
		b.add(Warning, subject, fmt.Sprintf("allow = [\"%s\"], and all other proxies", strings.Join(strangers, `", "`)),
			"Postfix speaks the PROXY protocol there (%s), and %s, connected now, may be shut out, with all clients behind it", s.key, listed(strangers))
	case len(known) > 0:
		b.ok(subject, "Postfix speaks the PROXY protocol there (%s); %s, connected now, is never shut out", s.key, listed(known))
	}
	return len(strangers)+len(known) > 0
}
