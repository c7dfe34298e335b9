package mailconf

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// mustFiles makes a host's files from "NAME\ntext" parts.
func mustFiles(parts map[string]string) *Files {
	tree := make(fstest.MapFS)
	for name, text := range parts {
		tree[Rel(name)] = &fstest.MapFile{Data: []byte(text)}
	}
	return &Files{FS: tree}
}

func TestPostfix(t *testing.T) {
	f := mustFiles(map[string]string{
		"/etc/postfix/main.cf": "compatibility_level = 3.6\n" +
			"# smtpd_sasl_auth_enable = yes\n" +
			"mua_restrictions =\n  permit_sasl_authenticated,\n\n  # in between\n  reject\n" +
			"smtpd_client_restrictions = $mua_restrictions ${unknown_here}\n" +
			"a = $b\nb = $a\n" +
			"x = x\nten = $x$x$x$x$x$x$x$x$x$x\nhundred = $ten$ten$ten$ten$ten$ten$ten$ten$ten$ten\nmany = $hundred$hundred$hundred$hundred$hundred\n" +
			"multi_instance_directories = /etc/postfix-out, /etc/postfix-gone\n",
		"/etc/postfix/master.cf": "smtp inet n - y - 1 postscreen\n" +
			"smtpd pass - - - - - smtpd\n" +
			"[::]:10587 inet n - y - - smtpd\n" +
			"  -o syslog_name=postfix/submission -o { smtpd_client_restrictions = $mua_restrictions }\n" +
			"  -osmtpd_upstream_proxy_protocol=haproxy\n" +
			"too short\n",
		"/etc/postfix-out/main.cf": "",
	})
	all := f.Postfixes()
	if len(all) != 2 || all[1].Dir != "/etc/postfix-out" {
		t.Fatalf("instances: %+v", all)
	}
	p := all[0]
	if len(p.Services) != 3 {
		t.Fatalf("services: %+v", p.Services)
	}
	screen, pass, submission := &p.Services[0], &p.Services[1], &p.Services[2]
	if screen.Port() != 25 || pass.Port() != 0 || submission.Port() != 10587 {
		t.Errorf("ports: %d, %d, %d", screen.Port(), pass.Port(), submission.Port())
	}
	if !screen.Chroot || pass.Chroot || !submission.Chroot {
		t.Errorf("chroot: %v, %v, %v", screen.Chroot, pass.Chroot, submission.Chroot)
	}
	for _, c := range []struct {
		service *Service
		key     string
		want    string
		known   bool
	}{
		{nil, "mua_restrictions", "permit_sasl_authenticated, reject", true},
		{submission, "smtpd_client_restrictions", "permit_sasl_authenticated, reject", true},
		{screen, "smtpd_client_restrictions", "permit_sasl_authenticated, reject ", false},
		{submission, "syslog_name", "postfix/submission", true},
		{submission, "smtpd_upstream_proxy_protocol", "haproxy", true},
		{nil, "smtpd_sasl_auth_enable", "", true},
		{nil, "a", "", false},
		{nil, "many", strings.Repeat("x", 180), false},
	} {
		if value, known := p.Value(c.service, c.key); value != c.want || known != c.known {
			t.Errorf("%s: %q, %v; want %q, %v", c.key, value, known, c.want, c.known)
		}
	}
	if old := mustFiles(map[string]string{"/etc/postfix/main.cf": "", "/etc/postfix/master.cf": "smtp inet n - - - - smtpd\n"}).Postfix(PostfixDir); !old.Services[0].Chroot {
		t.Error("before Postfix 3.0, a chroot is the default")
	}
}

func TestDovecot(t *testing.T) {
	f := mustFiles(map[string]string{
		"/etc/dovecot/dovecot.conf": "log_path = syslog # where else\n!include conf.d/*.conf\n!include_try nowhere.conf\n",
		"/etc/dovecot/conf.d/10-master.conf": "service imap-login {\n  inet_listener imaps {\n    port = 993\n    haproxy = yes\n  }\n" +
			"  process_min_avail = 2\n}\nauth_verbose = yes\n",
		"/etc/dovecot/conf.d/20-last.conf": "log_path = \"/var/log/dovecot.log\"\n} }\n!include 20-last.conf\n",
	})
	d := f.Dovecot()
	if d == nil || d.Get("log_path") != "/var/log/dovecot.log" || d.Get("auth_verbose") != "yes" || d.Get("port") != "" {
		t.Fatalf("read %+v", d)
	}
	got := d.Within("haproxy", "service", "inet_listener")
	if len(got) != 1 || got[0].Value != "yes" || got[0].Blocks[0] != "service imap-login" {
		t.Errorf("listeners: %+v", got)
	}
	if d := mustFiles(nil).Dovecot(); d != nil {
		t.Errorf("of no Dovecot: %+v", d)
	}
}

func TestExim(t *testing.T) {
	f := mustFiles(map[string]string{"/etc/exim4/exim4.conf": "LOG = +pid\n" +
		"log_selector = LOG \\\n  +incoming_interface\n# hosts_proxy = *\nhosts_proxy = 192.0.2.1 : 2001::::db8::::::::1\n" +
		"begin acl\nhosts_proxy = 203.0.113.1\n"})
	if value, known := f.Exim().Get("log_selector"); known || value != "LOG +incoming_interface" {
		t.Errorf("without Exim to ask: %q, %v", value, known)
	}
	f.Run = func(name string, args ...string) (string, error) {
		if name == "exim" && strings.Join(args, " ") == "-bP log_selector" {
			return "log_selector = +pid +incoming_interface\n", nil
		}
		return "", errors.New("not there")
	}
	if value, known := f.Exim().Get("log_selector"); !known || value != "+pid +incoming_interface" {
		t.Errorf("asked: %q, %v", value, known)
	}
	if value, known := f.Exim().Get("nothing"); !known || value != "" {
		t.Errorf("what is not set: %q, %v", value, known)
	}
}

// TestTrusted: addresses and networks are taken, names, tables and exceptions
// are not, and nobody else's settings are.
func TestTrusted(t *testing.T) {
	f := mustFiles(map[string]string{
		"/etc/postfix/main.cf": "compatibility_level = 3.6\nproxies = 192.0.2.1, [2001:db8::1]\n" +
			"smtpd_authorized_xclient_hosts = $proxies 192.0.2.128/25 [2001:db8:1::]/48 !192.0.2.3 proxy.example.org cidr:/etc/postfix/xclient\n" +
			"mynetworks = 198.51.100.0/24\n",
		"/etc/postfix/master.cf":    "587 inet n - n - - smtpd -o smtpd_authorized_xclient_hosts=192.0.2.77\n",
		"/etc/dovecot/dovecot.conf": "haproxy_trusted_networks = 10.1.2.3 10.2.0.0/16\nlogin_trusted_networks = ::ffff:10.3.0.1, fd00::/64\nprotocol imap {\n  login_trusted_networks = 10.4.0.1\n}\n",
		"/etc/exim/exim.conf":       "hosts_proxy = <; 172.16.0.1 ; 2001:db8:2::/64 ; lb.example.org\n",
	})
	var got []string
	for _, x := range f.Trusted() {
		got = append(got, x.Server+" "+x.Key+" "+x.Prefix.String()+" "+x.File)
	}
	want := []string{
		"Postfix smtpd_authorized_xclient_hosts 192.0.2.1/32 /etc/postfix/main.cf",
		"Postfix smtpd_authorized_xclient_hosts 2001:db8::1/128 /etc/postfix/main.cf",
		"Postfix smtpd_authorized_xclient_hosts 192.0.2.128/25 /etc/postfix/main.cf",
		"Postfix smtpd_authorized_xclient_hosts 2001:db8:1::/48 /etc/postfix/main.cf",
		"Postfix smtpd_authorized_xclient_hosts 192.0.2.77/32 /etc/postfix/master.cf",
		"Dovecot haproxy_trusted_networks 10.1.2.3/32 /etc/dovecot/dovecot.conf",
		"Dovecot haproxy_trusted_networks 10.2.0.0/16 /etc/dovecot/dovecot.conf",
		"Dovecot login_trusted_networks 10.3.0.1/32 /etc/dovecot/dovecot.conf",
		"Dovecot login_trusted_networks fd00::/64 /etc/dovecot/dovecot.conf",
		"Dovecot login_trusted_networks 10.4.0.1/32 /etc/dovecot/dovecot.conf",
		"Exim hosts_proxy 172.16.0.1/32 /etc/exim/exim.conf",
		"Exim hosts_proxy 2001:db8:2::/64 /etc/exim/exim.conf",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
