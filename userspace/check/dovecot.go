package check

import (
	"net/url"
	"slices"
	"strings"
)

func dovecot(f *Facts, b *book) {
	d := f.Servers.Dovecot
	if d == nil {
		b.ok("installed", "no")
		return
	}
	f.Servers.hidden(b, "/etc/dovecot")
	if d.Get("auth_verbose") == "yes" {
		b.ok("auth_verbose", "yes: failures are told at once")
	} else {
		b.add(Note, "auth_verbose", "auth_verbose = yes", "it is off: a failed login is told only when its session ends")
	}
	if elements := d.Get("login_log_format_elements"); elements != "" && !strings.Contains(elements, "rip=%") {
		b.add(Error, "log format", "add rip=%r (2.3) or rip=%{remote_ip} (2.4) to login_log_format_elements", "logins are logged without the client's address (%s): nobody can be flagged for them", elements)
	}
	var proxied []string
	for _, s := range d.Within("haproxy", "service", "inet_listener") {
		if s.Value == "yes" {
			proxied = append(proxied, strings.TrimPrefix(s.Blocks[0], "service ")+"/"+strings.TrimPrefix(s.Blocks[1], "inet_listener "))
		}
	}
	if len(proxied) > 0 && !trustsProxies(f) {
		b.add(Warning, "haproxy", "name the proxies in haproxy_trusted_networks", "%s speak the PROXY protocol, and no proxy is trusted: Dovecot closes such connections", listed(proxied))
	}
	authPolicy(f, b)
}

func trustsProxies(f *Facts) bool {
	for _, t := range f.Servers.Dovecot.Trusted() {
		if t.Key == "haproxy_trusted_networks" {
			return true
		}
	}
	return false
}

// authPolicy compares what Dovecot asks with what weir answers.
func authPolicy(f *Facts, b *book) {
	d, on := f.Servers.Dovecot, f.Settings.DovecotListen
	asked := d.Get("auth_policy_server_url")
	to := ""
	if u, err := url.Parse(asked); err == nil && u.Host != "" {
		port := u.Port()
		if port == "" {
			port = "80"
		}
		to = "tcp:" + strings.Replace(u.Hostname(), "localhost", "127.0.0.1", 1) + ":" + port
		if strings.Contains(u.Hostname(), ":") {
			to = "tcp:[" + u.Hostname() + "]:" + port
		}
	}
	tcp := slices.ContainsFunc(on, func(l string) bool { return strings.HasPrefix(l, "tcp:") })
	switch {
	case asked == "" && tcp:
		b.add(Warning, "auth policy", "docs/dovecot.md has Dovecot's side", "weir listens for Dovecot at %s, and Dovecot asks nobody", listed(on))
	case asked == "":
	case slices.Contains(on, to):
		b.ok("auth policy", "weir is asked about logins")
		if d.Get("auth_policy_reject_on_fail") == "yes" {
			b.add(Warning, "auth policy", "auth_policy_reject_on_fail = no", "when weir is down, nobody can log in")
		}
		if d.Get("auth_policy_report_after_auth") == "no" {
			b.add(Note, "auth policy", "auth_policy_report_after_auth = yes", "Dovecot does not tell weir how logins end")
		}
	case len(on) > 0:
		b.add(Warning, "auth policy", "let both name the same address", "Dovecot asks %s, and weir listens at %s", asked, listed(on))
	case strings.HasPrefix(to, "tcp:127.") || strings.HasPrefix(to, "tcp:[::1]"):
		b.add(Note, "auth policy", "if that is meant to be weir, docs/dovecot.md has its side: [dovecot_policy]", "Dovecot asks %s, and weir listens nowhere for it", asked)
	}
}
