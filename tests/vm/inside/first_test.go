package inside

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"weir/tests/lab"
)

// A mail host gets the package, is attacked, and gets the next version.
func TestBoot1(t *testing.T) {
	h := mustHost(t)
	h.step("the mail servers answer", (*host).setUpServers)
	old, next := h.version("old"), h.version("new")
	h.step("install", func(h *host) {
		h.install("old")
		h.poll("weir", func() bool { out, _ := h.sh("systemctl is-active weir"); return out == "active" })
		h.want("enabled", "systemctl is-enabled weir")
		h.wantActive("observe", old)
		h.wantOwned(stateFolder, "/run/weir")
		h.want("drwx------ weir weir", "stat -c '%%A %%U %%G' %s", stateFolder)
		h.must("test -s /usr/share/man/man1/weir-list.1.gz && test -s /usr/share/bash-completion/completions/weir")
		for _, i := range h.status().Intakes {
			if i.Error != "" || i.Name != "file:/var/log/mail.log" {
				h.Errorf("it reads %+v", i)
			}
		}
	})
	h.step("a guesser is listed, and refused nothing in mode observe", func(h *host) {
		h.poll("the guesser to be listed", func() bool { h.guess(attacker); return h.listed(attacker, "guessing") })
		h.wantReachable(true, attacker)
	})
	h.step("mode enforce by a reload refuses the guesser and nobody else", func(h *host) {
		h.must(`sed -i 's/^mode = .*/mode = "enforce"/' %s && systemctl reload weir`, configuration)
		h.poll("the guesser to be refused", func() bool { return !h.lab.Reachable(h.Context(), attacker, 587) })
		h.wantReachable(false, attacker)
		h.wantReachable(true, good)
		h.wantActive("enforce", old)
	})
	h.step("the sandbox", (*host).lookAtSandbox)
	h.step("open sessions of a source that is dropped are closed", func(h *host) {
		other := good.Next()
		s := h.submission(other)
		defer s.Close()
		h.must("weir pin %s --action drop", other)
		h.poll("the session to end", func() bool { return !s.Alive() })
		h.must("weir unpin %s", other)
	})
	h.step("an administrator's address is protected", func(h *host) {
		from := good.Next().Next()
		h.must("(script -qec 'login -h %s -f root' /dev/null </dev/zero >/dev/null 2>&1 & echo $! >/tmp/login)", from)
		h.poll("the session", func() bool { out, _ := h.sh("grep -l %s /run/systemd/sessions/*", from); return out != "" })
		h.must("weir pin %s --action drop", from)
		h.poll("the administrator to be spared", func() bool { return h.lab.Reachable(h.Context(), from, 587) })
		h.must("weir unpin %s; kill $(cat /tmp/login)", from)
	})
	h.step("upgrade, and not one packet gets through", func(h *host) {
		p, err := h.lab.Probe(attacker, 587, 5*time.Millisecond)
		if err != nil {
			h.Fatal(err)
		}
		before := h.must("systemctl show -P MainPID weir")
		h.install("new")
		h.poll("weir", func() bool { out, _ := h.sh("systemctl is-active weir"); return out == "active" })
		if err := p.Stop(); err != nil {
			h.Error(err)
		}
		if p.Sent() < 100 || p.Through() > 0 || p.Answered() > 0 {
			h.Errorf("of %d packets %d got through, %d were answered", p.Sent(), p.Through(), p.Answered())
		}
		h.Logf("%d packets, none got through", p.Sent())
		h.wantActive("enforce", next)
		if after := h.must("systemctl show -P MainPID weir"); after == before {
			h.Error("the old agent still runs")
		}
		if !h.listed(attacker, "guessing") {
			h.Error("the decision is gone")
		}
	})
	h.step("what a version that was root's has left is taken over", func(h *host) {
		h.must("systemctl stop weir && chown -R root:root %s %s && chmod 600 %s/*", stateFolder, pinFolder, stateFolder)
		h.wantReachable(false, attacker)
		h.must("systemctl start weir")
		h.wantActive("enforce", next)
		h.wantOwned(stateFolder, pinFolder)
		h.want("drwx------ weir weir", "stat -c '%%A %%U %%G' %s", pinFolder)
		h.wantReachable(false, attacker)
		if !h.listed(attacker, "guessing") {
			h.Error("the decision is gone")
		}
	})
	h.step("a panic without an agent, and its end", func(h *host) {
		h.must("systemctl stop weir && weir panic && systemctl start weir")
		h.wantReachable(true, attacker)
		h.must("weir panic --lift")
		h.poll("the guesser to be refused", func() bool { return !h.lab.Reachable(h.Context(), attacker, 587) })
	})
	h.step("each user may what his groups say, and the audit tells", (*host).lookAsOthers)
	h.step("a folder of pins that is removed is told, with the remedy", (*host).removePinFolder)
	h.step("servers ask over loopback, DNS lists are asked, and an administrator is told, with the drop-in", (*host).answerServers)
	h.step("nothing is denied to it", (*host).wantNoDenial)
}

// lookAtSandbox looks at the process, not at what the unit asks for.
func (h *host) lookAtSandbox() {
	text, err := os.ReadFile("/proc/" + h.must("systemctl show -P MainPID weir") + "/status")
	if err != nil {
		h.Fatal(err)
	}
	uid := h.must("id -u weir")
	const three = uint64(1<<12 | 1<<38 | 1<<39) // NET_ADMIN, PERFMON, BPF (linux/capability.h)
	for key, want := range map[string]string{
		"Uid":        strings.Join([]string{uid, uid, uid, uid}, "\t"),
		"CapEff":     fmt.Sprintf("%016x", three),
		"CapBnd":     fmt.Sprintf("%016x", three),
		"NoNewPrivs": "1",
		"Seccomp":    "2",
	} {
		if !strings.Contains(string(text), fmt.Sprintf("\n%s:\t%s\n", key, want)) {
			h.Errorf("%s is not %s in\n%s", key, want, text)
		}
	}
	h.Log(h.must("systemd-analyze security --threshold=15 --no-pager weir | tail -n 1"))
	h.want("drwx------ weir weir", "stat -c '%%A %%U %%G' %s", pinFolder)
	h.want("srw-rw---- weir weir", "stat -c '%%A %%U %%G' /run/weir/control.sock")
}

// wantNoDenial looks for what the sandbox refused.
func (h *host) wantNoDenial() {
	out, _ := h.sh("journalctl -b -u weir --no-pager -o cat | grep -iE 'permission denied|not permitted|read-only file system|cannot be set'")
	if out != "" {
		h.Errorf("the sandbox was in the way:\n%s", out)
	}
}

// setUpServers makes Debian's Postfix and Dovecot serve submission, with
// Dovecot's users.
func (h *host) setUpServers() {
	h.must("useradd -m alice")
	h.must("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=%s -keyout /etc/ssl/private/mail.key -out /etc/ssl/certs/mail.pem", lab.Host)
	h.must(`postconf -e smtpd_tls_cert_file=/etc/ssl/certs/mail.pem smtpd_tls_key_file=/etc/ssl/private/mail.key \
	smtpd_sasl_type=dovecot smtpd_sasl_path=private/auth myhostname=%s mydestination='$myhostname, %s, localhost' smtpd_peername_lookup=no`, lab.Host, lab.Domain)
	h.must(`postconf -M 'submission/inet=submission inet n - y - - smtpd' &&
	postconf -P submission/inet/syslog_name=postfix/submission submission/inet/smtpd_tls_security_level=encrypt submission/inet/smtpd_sasl_auth_enable=yes`)
	h.write("/etc/dovecot/users", "alice:{PLAIN}"+lab.Password+"\n")
	h.write("/etc/dovecot/conf.d/99-local.conf", `disable_plaintext_auth = no
auth_verbose = yes
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
`)
	h.must("sed -i 's/^!include auth-system/#&/' /etc/dovecot/conf.d/10-auth.conf")
	h.must("systemctl restart dovecot postfix")
	h.poll("Postfix", func() bool {
		return h.lab.Submit(h.Context(), good, "alice", "alice@"+lab.Domain, []string{"alice@" + lab.Domain}, "hello") == nil
	})
}
