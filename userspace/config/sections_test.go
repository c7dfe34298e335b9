package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"weir/policy"
)

func TestPolicyListsAndNotices(t *testing.T) {
	c, err := Parse("weir.toml", []byte(`
[dovecot_policy]
listen = ["tcp:127.0.0.1:10032", "unix:/run/weir//dovecot.sock"]
api_key_file = "/etc/weir/dovecot.key"

[[list]]
name = "spamhaus-drop"
path = "/etc/weir/drop.txt"

[[list]]
name = "slow"
path = "/etc/weir/slow.txt"
action = "limit"
rate = "6/m"
burst = 3

[dnsbl]
zones = ["Zen.Spamhaus.Org."]
resolver = "::1"

[notify]
mail = ["postmaster@example.com"]
users = true
user_domains = ["example.com"]
user_language = "ja"
mailer = "smtp:127.0.0.1:25"
webhook = "https://chat.example.com/hook"
command = ["/usr/local/sbin/told", "x y"]
once = "12h"
`))
	if err != nil {
		t.Fatal(err)
	}
	if want := (DovecotPolicy{[]string{"tcp:127.0.0.1:10032", "unix:/run/weir/dovecot.sock"}, "/etc/weir/dovecot.key"}); !reflect.DeepEqual(c.DovecotPolicy, want) {
		t.Errorf("dovecot_policy %+v", c.DovecotPolicy)
	}
	wantLists := []List{
		{"spamhaus-drop", "/etc/weir/drop.txt", policy.Drop, policy.Rate{}},
		{"slow", "/etc/weir/slow.txt", policy.Limit, policy.Rate{Every: 10 * time.Second, Burst: 3}},
	}
	if !reflect.DeepEqual(c.Lists, wantLists) {
		t.Errorf("lists %+v", c.Lists)
	}
	if want := (DNSBL{[]string{"zen.spamhaus.org"}, netip.MustParseAddrPort("[::1]:53")}); !reflect.DeepEqual(c.DNSBL, want) {
		t.Errorf("dnsbl %+v", c.DNSBL)
	}
	want := Notify{
		Mail: []string{"postmaster@example.com"}, Mailer: "smtp:127.0.0.1:25", Sendmail: []string{"/usr/sbin/sendmail"},
		Users: true, UserDomains: []string{"example.com"}, Language: "en", UserLanguage: "ja",
		Webhook: "https://chat.example.com/hook", Command: []string{"/usr/local/sbin/told", "x y"}, Wait: 30 * time.Second, Once: 12 * time.Hour, Most: 10,
	}
	if !reflect.DeepEqual(c.Notify, want) || !c.Notify.Anybody() {
		t.Errorf("notify %+v", c.Notify)
	}
	if c, err = Parse("weir.toml", nil); err != nil || c.Notify.Anybody() || len(c.DovecotPolicy.Listen)+len(c.Lists)+len(c.DNSBL.Zones) > 0 {
		t.Errorf("an empty file turns something on: %+v, %v", c, err)
	}
}
