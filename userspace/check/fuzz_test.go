package check

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzHost examines a host whose files and programs say anything: there is a
// report, in which every finding says something.
func FuzzHost(f *testing.F) {
	servers := wellServers()
	f.Add(servers["etc/postfix/main.cf"], servers["etc/postfix/master.cf"], servers["etc/dovecot/dovecot.conf"], servers["etc/exim4/exim4.conf"],
		"  sl  local_address rem_address   st\n   0: 00000000:0019 00000000:0000 0A 0\n   1: 190200C0:0019 076433C6:D431 01 0\n",
		"Port 587\nport 22\nPort x\n", "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNRestarts=0\n")
	f.Add("smtpd_data_restrictions = check_policy_service { unix:weir/policy.sock, ", "smtp inet n - y - 1 postscreen\n  -o", "service {", "log_selector = +all -pid",
		"0: 0000:zz", "Port 99999999999\n", "=\n")
	f.Fuzz(func(t *testing.T, main, master, dovecot, exim, sockets, sshd, unit string) {
		root := fstest.MapFS{
			"etc/postfix/main.cf": {Data: []byte(main)}, "etc/postfix/master.cf": {Data: []byte(master)},
			"etc/dovecot/dovecot.conf": {Data: []byte(dovecot)}, "etc/exim4/exim4.conf": {Data: []byte(exim)},
			"proc/self/net/tcp": {Data: []byte(sockets)}, "etc/ssh/sshd_config": {Data: []byte(sshd)}, "proc/meminfo": {Data: []byte(sshd)},
		}
		run := func(name string, _ ...string) (string, error) {
			if name == "systemctl" {
				return unit, nil
			}
			return "", fs.ErrNotExist
		}
		facts := well()
		peers, err := LookAtSockets(root)
		facts.Configuration.Listening, facts.Configuration.NotSeen = peers.Listening, err
		facts.Configuration.SSH, facts.Configuration.Available = LookAtSSH(root), LookAtMemory(root)
		facts.Servers, facts.Unit = LookAtServers(root, run, peers), LookAtUnit(run)
		for _, finding := range NewReport(facts).Findings {
			if finding.Field == "" || finding.Subject == "" || strings.TrimSpace(finding.Seen) == "" {
				t.Errorf("%+v", finding)
			}
		}
	})
}
