package inside

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"weir/tests/lab"
)

// block returns the first code block of a language in a page of the
// documentation.
func (h *host) block(page, language string) string {
	h.Helper()
	text, err := os.ReadFile(filepath.Join(h.run, "docs", page))
	if err != nil {
		h.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```" + regexp.QuoteMeta(language) + "\n(.*?)```").FindSubmatch(text)
	if found == nil {
		h.Fatalf("%s has no block of %q", page, language)
	}
	return string(found[1])
}

// answerServers does as the documentation says where Postfix and Dovecot ask over
// loopback, weir asks a DNS list there, and an administrator is told by mail: the
// drop-in, the key, both servers' configuration.
func (h *host) answerServers() {
	const dropIn = "/etc/systemd/system/weir.service.d/override.conf"
	kept := h.must("cat %s", configuration)
	h.write(dropIn, h.block("policy-server.md", "ini"))
	h.must("%s", h.block("dovecot.md", "sh"))
	h.must("useradd -m bob && echo 'bob:{PLAIN}%s' >>/etc/dovecot/users", lab.Password)
	const named = "203.0.113.77" // by the list
	h.write("/var/lib/rbldns/list", ":127.0.0.2:listed\n127.0.0.2\n"+named+"\n")
	h.write("/etc/default/rbldnsd", `RBLDNSD="- -r/var/lib/rbldns -b127.0.0.1 bad.example:ip4set:list"`+"\n")
	h.must("systemctl restart rbldnsd")
	h.write(configuration, kept+`
[dnsbl]
zones = ["bad.example"]
resolver = "127.0.0.1"

[postfix_policy]
listen = ["tcp:127.0.0.1:10031"]

`+h.block("dovecot.md", "toml")+`
[notify]
mail = ["alice@`+lab.Domain+`"]
from = "weir@`+lab.Domain+`"
wait = "2s"
command = ["/usr/bin/tee", "/run/weir/told"]

[[rule]]
name = "named"
events = ["listed"]
per = "source"
measure = "events"
threshold = 1
within = "1h"
action = "drop"
for = "1h"

[[rule]]
name = "stolen"
events = ["auth_success", "message"]
per = "user"
measure = "sources"
threshold = 3
within = "1h"
action = "drop"
for = "1h"
`)
	key := h.must("cat /etc/weir/dovecot.key")
	h.write("/etc/dovecot/conf.d/98-weir.conf", strings.NewReplacer("KEY", key, "NONCE", "pepper").Replace(h.block("dovecot.md", "dovecot-2.3")))
	h.must("postconf -e 'smtpd_data_restrictions=check_policy_service { inet:127.0.0.1:10031, timeout=2s, default_action=DUNNO }'")
	h.must("systemctl daemon-reload && systemctl restart weir && systemctl restart dovecot && systemctl reload postfix")
	for n, from := 0, netip.MustParseAddr("203.0.113.20"); n < 4; n, from = n+1, from.Next() {
		// The third is flagged while it sends, the fourth before it does.
		err := h.lab.Submit(h.Context(), from, "bob", "bob@"+lab.Domain, []string{"alice@" + lab.Domain}, "buy now")
		if err != nil && n < 2 {
			h.Fatal(err)
		}
	}
	s := h.submission(netip.MustParseAddr(named))
	_ = s.Auth("alice", "wrong")
	s.Close()
	h.poll("the DNS list to name a source", func() bool { return h.listed(netip.MustParseAddr(named), "named") })
	h.poll("the administrator's mail", func() bool {
		box, err := os.ReadFile("/var/mail/alice")
		return err == nil && strings.Contains(string(box), "bob: account guarded")
	})
	h.poll("the command", func() bool {
		told, err := os.ReadFile("/run/weir/told")
		return err == nil && strings.Contains(string(told), `"bob"`)
	})
	if p := h.status().PostfixPolicy; p == nil || p.Messages < 2 {
		h.Errorf("Postfix asked about too little: %+v", p)
	}
	said := h.must("weir status")
	if !regexp.MustCompile(`Dovecot is answered on`).MatchString(said) || strings.Contains(said, "without the right API key") {
		h.Errorf("Dovecot is not answered:\n%s", said)
	}
	h.want("640 root weir", "stat -c '%%a %%U %%G' /etc/weir/dovecot.key")
	h.Logf("systemd-analyze security with the drop-in: %s", h.must("systemd-analyze security --no-pager weir | tail -n 1"))
	h.write(configuration, kept+"\n")
	h.must("rm -r %s /etc/weir/dovecot.key /etc/dovecot/conf.d/98-weir.conf && postconf -X smtpd_data_restrictions && systemctl daemon-reload && systemctl restart weir dovecot && systemctl reload postfix && systemctl disable --now rbldnsd.socket rbldnsd",
		filepath.Dir(dropIn))
}
