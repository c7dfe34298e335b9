package mailconf

import (
	"testing"
	"testing/fstest"
)

// FuzzConfigurations: whatever stands in the files, reading ends, and what is
// trusted is a network.
func FuzzConfigurations(f *testing.F) {
	f.Add("smtpd_authorized_xclient_hosts = $a [::1] 192.0.2.0/24\na = ${b} $(c\n", "587 inet n - - - - smtpd -o { a = b -o -oc=$a\n")
	f.Add("multi_instance_directories = /etc/postfix /etc/postfix\na = $a\n", "smtp inet n - y - 1 postscreen -o\n")
	f.Add("!include dovecot.conf\nhaproxy_trusted_networks = ::ffff:10.0.0.1/8 10.0.0.0/8 # x\nservice a {\n} } }\n!include *\n", "x {\n")
	f.Add("X = a\nhosts_proxy = <; X ; 2001::::1 \\\n  : 10.0.0.1\nlog_selector = $X\nbegin acl\n", "= a\n")
	f.Add("a = $a$a$a$a$a$a$a$a\nsmtpd_authorized_xclient_hosts = $a$a$a$a\n", "smtp inet n - - - - smtpd -o a=$a$a$a$a\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		tree := fstest.MapFS{
			"etc/postfix/main.cf": {Data: []byte(first)}, "etc/postfix/master.cf": {Data: []byte(second)},
			"etc/dovecot/dovecot.conf": {Data: []byte(first)}, "etc/dovecot/more.conf": {Data: []byte(second)}, "etc/exim.conf": {Data: []byte(first + second)},
		}
		files := &Files{FS: tree}
		for _, x := range files.Trusted() {
			if !x.Prefix.IsValid() || x.Prefix != x.Prefix.Masked() || x.Prefix.Addr().Is4In6() {
				t.Errorf("trusted: %+v", x)
			}
		}
		for _, p := range files.Postfixes() {
			for i := range p.Services {
				for _, key := range []string{"smtpd_data_restrictions", "a"} {
					value, _ := p.Value(&p.Services[i], key)
					Words(value)
				}
			}
		}
	})
}
