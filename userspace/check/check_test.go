package check

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"weir/loader"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var errHidden = errors.New("permission denied")

// wellServers are mail servers that ask weir and trust a proxy.
func wellServers() map[string]string {
	return map[string]string{
		"etc/postfix/main.cf": "compatibility_level = 3.6\nsmtpd_data_restrictions =\n  check_policy_service { unix:weir/policy.sock, timeout=2s, default_action=DUNNO }\n" +
			"smtpd_authorized_xclient_hosts = 192.0.2.80\n",
		"etc/postfix/master.cf": "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd -o syslog_name=postfix/submission -o smtpd_sasl_auth_enable=yes\n",
		"etc/dovecot/dovecot.conf": "auth_verbose = yes\nhaproxy_trusted_networks = 192.0.2.80\nauth_policy_server_url = http://127.0.0.1:10032/\n" +
			"service imap-login {\n  inet_listener imaps {\n    haproxy = yes\n  }\n}\n",
		"etc/exim4/exim4.conf": "log_selector = +received_recipients +incoming_interface +pid +smtp_no_mail\n",
	}
}

// serversOf reads configuration files, given in pairs over those of wellServers.
func serversOf(peers Sockets, changes ...string) Servers {
	files := wellServers()
	for i := 0; i < len(changes); i += 2 {
		files[changes[i]] = changes[i+1]
	}
	tree := make(fstest.MapFS)
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	run := func(string, ...string) (string, error) { return "", fs.ErrNotExist }
	return LookAtServers(tree, run, peers)
}

// well is a host on which all is as it should be.
func well() *Facts {
	return &Facts{
		Version: "1.0", Host: "mx", Now: noon,
		Settings: Settings{
			File: "/etc/weir/weir.toml", Enforce: true, Ports: []uint16{25, 465, 587}, StateDir: "/var/lib/weir",
			Spared:       []Spared{{netip.MustParsePrefix("192.0.2.80/32"), "allow"}},
			PolicyListen: []string{"unix:/var/spool/postfix/weir/policy.sock"}, DovecotListen: []string{"tcp:127.0.0.1:10032"}, Network: []string{"[dovecot_policy]"},
		},
		Configuration: Configuration{SSH: []uint16{22}, Listening: []uint16{22, 25, 465, 587}, Tables: 24 << 20, Available: 4 << 30},
		Agent: Agent{
			Version: "1.0", PID: 812, Enforces: true, Interfaces: map[string]Attached{"eth0": {loader.ModeNative, "driver ixgbe supports native XDP"}},
			Intakes: map[string]Read{"file:/var/log/mail.log": {Lines: 1000, Events: 300}},
		},
		Unit: Unit{Properties: map[string]string{
			"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0", "NeedDaemonReload": "no",
			"RestrictAddressFamilies": "AF_INET6 AF_NETLINK AF_INET AF_UNIX", "IPAddressDeny": "0.0.0.0/0 ::/0", "IPAddressAllow": "127.0.0.0/8",
		}},
		Kernel:     Kernel{Release: "6.12.1", TCX: true, BTF: true, JIT: "1"},
		Interfaces: Interfaces{Found: []loader.Surveyed{{Name: "eth0", Index: 2, Kind: "device", Driver: "ixgbe", Up: true, MTU: 1500, Queues: 4, Expected: loader.ModeNative, Ours: true, Program: "weir_xdp, id 7"}}},
		Pins:       Pins{Dir: "/sys/fs/bpf/weir", OnBPFFS: true, Exists: true, Mode: 0o700, Links: 1},
		State:      State{Dir: "/var/lib/weir", Mode: 0o700, Free: 40 << 30, Files: 1 << 20, Store: 1 << 20},
		Logs: Logs{All: []Log{{
			Name: "file:/var/log/mail.log", Written: noon.Add(-time.Minute), Lines: 2000, Understood: 500, NotUnderstood: 1, Events: 120,
			Line: "a line", Event: "auth_failure", Puzzle: "a puzzle", Newest: noon.Add(-time.Minute), AtEnd: true,
		}}},
		Servers: serversOf(Sockets{}),
		Clock:   Clock{Synced: true, Error: 5 * time.Millisecond, Zone: "UTC (+00:00)"},
		Rules: Rules{Since: noon.Add(-24 * time.Hour), Began: noon.Add(-100 * time.Hour), Reached: noon, Events: 5000,
			Flags: []Flag{{Target: "203.0.113.9", At: noon.Add(-time.Hour), Action: "drop", Rule: "guessing"}}},
	}
}

func TestWellHost(t *testing.T) {
	r := NewReport(well())
	for _, f := range r.Findings {
		if f.Severity != OK || f.Seen == "" {
			t.Errorf("%s, %s: %v: %s", f.Field, f.Subject, f.Severity, f.Seen)
		}
	}
	if r.Severity != OK || r.Counts["ok"] != len(r.Findings) || len(r.Counts) != len(Severities()) {
		t.Errorf("counted %v, severity %v", r.Counts, r.Severity)
	}
	seen := make(map[string]bool)
	for _, f := range r.Findings {
		seen[f.Field] = true
	}
	for _, field := range fields() {
		if !seen[field.name] {
			t.Errorf("nothing is said of %s", field.name)
		}
	}
}

// Each fault is found, with its severity and a remedy, and by nothing else.
func TestFindings(t *testing.T) {
	const main, master, dovecot, exim = "etc/postfix/main.cf", "etc/postfix/master.cf", "etc/dovecot/dovecot.conf", "etc/exim4/exim4.conf"
	peers := Sockets{Peers: map[uint16][]netip.Addr{25: {netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("198.51.100.3"), netip.MustParseAddr("127.0.0.1")}}}
	for _, c := range []struct {
		field, subject string
		severity       Severity
		seen, remedy   string
		change         func(f *Facts)
	}{
		{"configuration", "file", Error, "is not there", "--config", func(f *Facts) { f.Configuration.Missing = true }},
		{"configuration", "file", Note, "could not be seen", "as root", func(f *Facts) { f.Configuration.Unreadable = errHidden }},
		{"configuration", "line 7", Error, "unknown key", "remove it", func(f *Facts) { f.Configuration.Errors = []Problem{{7, "unknown key x", "remove it"}} }},
		{"configuration", "line 3", Warning, "holds 22", "remove 22", func(f *Facts) { f.Configuration.Warnings = []Problem{{3, "ports holds 22", "remove 22"}} }},
		{"configuration", "mode", Note, "observe", "enforce", func(f *Facts) { f.Settings.Enforce, f.Agent.Enforces = false, false }},
		{"configuration", "ports", Warning, "sshd is configured to listen on 2222", "remove 2222", func(f *Facts) {
			f.Configuration.SSH, f.Settings.Ports = []uint16{2222}, []uint16{25, 2222}
			f.Configuration.Listening = []uint16{25, 2222}
		}},
		{"configuration", "ports", Note, "nobody listens on 465", "", func(f *Facts) { f.Configuration.Listening = []uint16{25, 587} }},
		{"configuration", "ports", Warning, "nobody listens on any", "start", func(f *Facts) { f.Configuration.Listening = nil }},
		{"configuration", "ports", Note, "993 (imaps)", "ports", func(f *Facts) { f.Configuration.Listening = append(f.Configuration.Listening, 993) }},
		{"configuration", "ports", Note, "could not be seen", "root", func(f *Facts) { f.Configuration.NotSeen = errHidden }},
		{"configuration", "entries", Warning, "tables take 3.2 GB", "[limits]", func(f *Facts) { f.Configuration.Tables = 3 << 30 }},
		{"agent", "running", Note, "no agent runs", "enable --now", func(f *Facts) { f.Agent = Agent{Down: errHidden} }},
		{"agent", "running", Error, "denied", "systemctl start", func(f *Facts) { f.Agent = Agent{Down: errHidden, Started: true} }},
		{"agent", "running", Note, "could not be seen", "group weir", func(f *Facts) { f.Agent = Agent{Down: errHidden, Forbidden: true} }},
		{"agent", "version", Warning, "denied", "restart", func(f *Facts) { f.Agent = Agent{Down: errHidden, Stranger: true} }},
		{"agent", "version", Warning, "the agent is weir 0.9", "restart", func(f *Facts) { f.Agent.Version = "0.9" }},
		{"agent", "panic", Error, "everything passes", "--lift", func(f *Facts) { f.Agent.Panic = "since then" }},
		{"agent", "confirm", Warning, "ends", "weir confirm", func(f *Facts) { f.Agent.Unkept = "it ends" }},
		{"agent", "mode", Warning, "in mode observe", "reload", func(f *Facts) { f.Agent.Enforces = false }},
		{"agent", "read back", Error, "taken off", "restart", func(f *Facts) { f.Agent.Standing = "taken off" }},
		{"agent", "store", Error, "no space", "disk", func(f *Facts) { f.Agent.StoreError = "no space" }},
		{"agent", "errors", Warning, "1 kind of error", "journalctl", func(f *Facts) {
			f.Agent.Faults = []Fault{{noon.Add(-time.Minute), "new", 3}, {noon.Add(-2 * time.Hour), "old", 1}}
		}},
		{"unit", "weir.service", Note, "no systemd", "", func(f *Facts) { f.Unit = Unit{NotSeen: errors.New("no systemd")} }},
		{"unit", "weir.service", Note, "no such unit", "make install", func(f *Facts) { f.Unit.Properties["LoadState"] = "not-found" }},
		{"unit", "weir.service", Error, "failed (exit-code)", "journalctl", func(f *Facts) { f.Unit.Properties["ActiveState"], f.Unit.Properties["Result"] = "failed", "exit-code" }},
		{"unit", "weir.service", Warning, "will not after a boot", "systemctl enable", func(f *Facts) { f.Unit.Properties["UnitFileState"] = "disabled" }},
		{"unit", "restarts", Warning, "4 times", "journalctl", func(f *Facts) { f.Unit.Properties["NRestarts"] = "4" }},
		{"unit", "unit file", Warning, "old one", "daemon-reload", func(f *Facts) { f.Unit.Properties["NeedDaemonReload"] = "yes" }},
		{"unit", "network", Warning, "[dovecot_policy] needs IP", "RestrictAddressFamilies", func(f *Facts) { f.Unit.Properties["RestrictAddressFamilies"] = "AF_UNIX AF_NETLINK" }},
		{"unit", "network", Warning, "[dovecot_policy] needs IP", "IPAddressAllow", func(f *Facts) { f.Unit.Properties["IPAddressAllow"] = "" }},
		{"privileges", "capabilities", Warning, "CAP_BPF", "container", func(f *Facts) { f.Privileges.Missing = []string{"CAP_BPF"} }},
		{"privileges", "capabilities", Note, "CAP_BPF", "as root", func(f *Facts) { f.Privileges = Privileges{UID: 1000, Missing: []string{"CAP_BPF"}} }},
		{"kernel", "release", Error, "5.10.0", "5.18", func(f *Facts) { f.Kernel.Release = "5.10.0" }},
		{"kernel", "release", Note, "tested on is 6.1", "", func(f *Facts) { f.Kernel.Release = "5.19.0" }},
		{"kernel", "program", Error, "verifier", "observe", func(f *Facts) { f.Kernel.Program = errors.New("the verifier says no") }},
		{"kernel", "program", Note, "root alone", "root", func(f *Facts) { f.Kernel.Program = loader.ErrPermission }},
		{"kernel", "sessions", Warning, "time out", "CONFIG_INET_DIAG_DESTROY", func(f *Facts) { f.Kernel.Sessions = loader.ErrUnsupported }},
		{"kernel", "jit", Warning, "interpreted", "sysctl", func(f *Facts) { f.Kernel.JIT = "0" }},
		{"kernel", "jit", Note, "could not be seen", "root", func(f *Facts) { f.Kernel.NoJIT = errHidden }},
		{"kernel", "btf", Note, "tarpit", "CONFIG_DEBUG_INFO_BTF", func(f *Facts) { f.Kernel.BTF = false }},
		{"kernel", "tcx", Note, "clsact", "", func(f *Facts) { f.Kernel.TCX = false }},
		{"interfaces", "eth1", Error, "no such interface", "interfaces", func(f *Facts) {
			f.Interfaces.Found = append(f.Interfaces.Found, loader.Surveyed{Name: "eth1", Why: []string{"no such interface"}})
		}},
		{"interfaces", "eth0", Error, "no protection is in force", "another interface", func(f *Facts) { f.Agent.Interfaces["eth0"] = Attached{loader.ModeNone, "refused"} }},
		{"interfaces", "eth0", Note, "generic XDP is in force", "", func(f *Facts) {
			f.Agent.Interfaces["eth0"] = Attached{loader.ModeGeneric, "driver tg3 has no native XDP"}
		}},
		{"interfaces", "eth0", Warning, "generic XDP is in force", "restart weir", func(f *Facts) {
			f.Agent.Interfaces["eth0"] = Attached{loader.ModeGeneric, "receive offload joins packets: ethtool -K eth0 lro off"}
		}},
		{"interfaces", "eth0", Note, "TCX is expected", "xdp off", func(f *Facts) {
			f.Agent.Interfaces = nil
			s := &f.Interfaces.Found[0]
			s.Expected, s.Ours, s.Program, s.Why = loader.ModeTCX, false, "foreign, id 9", []string{"another XDP program (foreign, id 9) holds eth0"}
		}},
		{"interfaces", "eth0", Warning, "it is down", "ip link set", func(f *Facts) { f.Interfaces.Found[0].Up = false }},
		{"interfaces", "eth0", Note, "at its traffic control: cilium, id 3", "", func(f *Facts) { f.Interfaces.Found[0].Behind = []string{"cilium, id 3"} }},
		{"interfaces", "eth0", Warning, "from an earlier run", "weir panic", func(f *Facts) { f.Settings.Enforce, f.Agent = false, Agent{Down: errHidden} }},
		{"bpffs", "/sys/fs/bpf/weir", Error, "not on a BPF file system", "mount -t bpf", func(f *Facts) { f.Pins.OnBPFFS = false }},
		{"bpffs", "/sys/fs/bpf/weir", Warning, "mode 755", "chmod 700", func(f *Facts) { f.Pins.Mode = 0o755 }},
		{"bpffs", "/sys/fs/bpf/weir", Error, "removed while the agent runs", "systemctl restart weir", func(f *Facts) { f.Pins.Exists = false }},
		{"bpffs", "/sys/fs/bpf/weir", Note, "could not be seen", "root", func(f *Facts) { f.Pins.NotSeen = errHidden }},
		{"state", "room", Warning, "100 MB are free", "state_dir", func(f *Facts) { f.State.Free = 100e6 }},
		{"state", "room", Error, "1 MB are free", "state_dir", func(f *Facts) { f.State.Free = 1e6 }},
		{"state", "room", Error, "room for 3 files", "state_dir", func(f *Facts) { f.State.Files = 3 }},
		{"state", "/var/lib/weir", Warning, "in memory", "disk", func(f *Facts) { f.State.Memory = true }},
		{"state", "/var/lib/weir", Warning, "mode 777", "chmod 700", func(f *Facts) { f.State.Mode = 0o777 }},
		{"state", "panic", Error, "everything passes", "--lift", func(f *Facts) { f.State.Panic, f.Agent = true, Agent{Down: errHidden} }},
		{"state", "store", Note, "weir.db.corrupt-1", "remove", func(f *Facts) { f.State.Aside = []string{"weir.db.corrupt-1"} }},
		{"logs", "inputs", Error, "nothing is read", "auto", func(f *Facts) { f.Logs.All = nil }},
		{"logs", "file:/var/log/mail.log", Warning, "not there", "auto", func(f *Facts) { f.Logs.All[0].Missing = true }},
		{"logs", "file:/var/log/mail.log", Note, "could not be seen", "group", func(f *Facts) { f.Logs.All[0].NotSeen = errHidden }},
		{"logs", "file:/var/log/mail.log", Note, "a socket", "weir status", func(f *Facts) { f.Logs.All[0].Blind = "a socket" }},
		{"logs", "file:/var/log/mail.log", Warning, "nothing was written", "mail server", func(f *Facts) { f.Logs.All[0].Lines = 0 }},
		{"logs", "file:/var/log/mail.log", Warning, "none of a mail server", "README", func(f *Facts) { f.Logs.All[0].Understood, f.Logs.All[0].NotUnderstood = 0, 0 }},
		{"logs", "file:/var/log/mail.log", Warning, "50 % of those", "README", func(f *Facts) { f.Logs.All[0].NotUnderstood = 500 }},
		{"logs", "file:/var/log/mail.log", Warning, "written to 36h0m0s ago", "elsewhere", func(f *Facts) { f.Logs.All[0].Written = noon.Add(-36 * time.Hour) }},
		{"logs", "file:/var/log/mail.log", Warning, "lost 12 lines", "weir status", func(f *Facts) { f.Agent.Intakes["file:/var/log/mail.log"] = Read{Lost: 12} }},
		{"logs", "file:/var/log/mail.log", Warning, "5m0s behind", "weir status", func(f *Facts) { f.Agent.Intakes["file:/var/log/mail.log"] = Read{Lag: 5 * time.Minute, Behind: 3000} }},
		{"logs", "found", Note, "nginx", "", func(f *Facts) { f.Logs.Notes = []string{"nginx: only at level info"} }},
		{"postfix", "587", Warning, "look like those of port 25", "syslog_name=postfix/submission", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, master, "smtp inet n - y - - smtpd\n587 inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes\n")
		}},
		{"postfix", "policy", Warning, "no mail server asks there", "docs/policy-server.md", func(f *Facts) { f.Servers = serversOf(Sockets{}, main, "compatibility_level = 3.6\n") }},
		{"postfix", "policy", Warning, "weir does not listen there: mail passes", "listen", func(f *Facts) { f.Settings.PolicyListen = nil }},
		{"postfix", "policy", Error, "weir does not listen there: all mail that comes there is deferred", "unix:/var/spool/postfix/weir/policy.sock", func(f *Facts) {
			f.Settings.PolicyListen = nil
			f.Servers = serversOf(Sockets{}, main, "smtpd_recipient_restrictions = permit_mynetworks, check_policy_service unix:weir/policy.sock\n")
		}},
		{"postfix", "policy", Error, "runs in a chroot, where that is /var/spool/postfix/run/weir/policy.sock", "chroot", func(f *Facts) {
			f.Settings.PolicyListen = []string{"unix:/run/weir/policy.sock"}
			f.Servers = serversOf(Sockets{}, main, "smtpd_data_restrictions = check_policy_service unix:/run/weir/policy.sock\n")
		}},
		{"postfix", "policy", Warning, "when weir is down, mail is deferred", "DUNNO", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, main, "smtpd_data_restrictions = check_policy_service unix:weir/policy.sock\n")
		}},
		{"postfix", "policy", Note, "before DATA only", "smtpd_data_restrictions", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, main, "smtpd_recipient_restrictions = check_policy_service { unix:weir/policy.sock, default_action=DUNNO }\n")
		}},
		{"dovecot", "auth_verbose", Note, "session ends", "auth_verbose = yes", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, dovecot, "auth_policy_server_url = http://localhost:10032/\nhaproxy_trusted_networks = 192.0.2.80\n")
		}},
		{"dovecot", "log format", Error, "without the client's address", "rip=", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, dovecot, wellServers()[dovecot]+"login_log_format_elements = user=<%u> method=%m\n")
		}},
		{"dovecot", "haproxy", Warning, "imap-login/imaps", "haproxy_trusted_networks", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, dovecot, strings.ReplaceAll(wellServers()[dovecot], "haproxy_trusted", "other_trusted"))
		}},
		{"dovecot", "auth policy", Warning, "Dovecot asks nobody", "docs/dovecot.md", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, dovecot, strings.ReplaceAll(wellServers()[dovecot], "auth_policy_server_url", "x"))
		}},
		{"dovecot", "auth policy", Warning, "weir listens at tcp:127.0.0.1:9", "same address", func(f *Facts) { f.Settings.DovecotListen = []string{"tcp:127.0.0.1:9"} }},
		{"dovecot", "auth policy", Note, "weir listens nowhere", "docs/dovecot.md", func(f *Facts) { f.Settings.DovecotListen = nil }},
		{"dovecot", "auth policy", Warning, "nobody can log in", "no", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, dovecot, wellServers()[dovecot]+"auth_policy_reject_on_fail = yes\n")
		}},
		{"dovecot", "files", Note, "/etc/dovecot/secret.conf", "root", func(f *Facts) { f.Servers.Hidden = []string{"/etc/dovecot/secret.conf"} }},
		{"exim", "log_selector", Note, "without pid", "+pid", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, exim, "log_selector = +all -pid\n")
		}},
		{"exim", "log_selector", Note, "could not be asked", "exim -bP", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, exim, "SELECTOR = +pid\nlog_selector = SELECTOR\n")
		}},
		{"proxies", "192.0.2.80/32", Warning, "with it all clients behind it", "allow", func(f *Facts) { f.Settings.Spared = nil }},
		{"proxies", "0.0.0.0/0", Warning, "which is everybody", "haproxy_trusted_networks", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, dovecot, strings.ReplaceAll(wellServers()[dovecot], "= 192.0.2.80", "= 192.0.2.80 0.0.0.0/0"))
		}},
		{"proxies", "ports", Warning, "nobody is connected now", "allow", func(f *Facts) {
			f.Servers = serversOf(Sockets{}, main, wellServers()[main]+"postscreen_upstream_proxy_protocol = haproxy\n", master, "smtp inet n - y - 1 postscreen\n")
		}},
		{"proxies", "port 25", Warning, "198.51.100.3, connected now, may be shut out", `allow = ["198.51.100.3"]`, func(f *Facts) {
			f.Servers = serversOf(peers, master, "25 inet n - y - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n")
		}},
		{"clock", "synchronised", Warning, "nothing keeps", "chrony", func(f *Facts) { f.Clock.Synced = false }},
		{"clock", "file:/var/log/mail.log", Warning, "2h0m0s ahead", "zone", func(f *Facts) { f.Logs.All[0].Newest = noon.Add(2 * time.Hour) }},
		{"clock", "file:/var/log/mail.log", Warning, "5h30m0s behind", "zone", func(f *Facts) {
			f.Logs.All[0].Newest = f.Logs.All[0].Written.Add(-5*time.Hour - 30*time.Minute - 20*time.Second)
		}},
		{"clock", "file:/var/log/mail.log", Note, "went back by more than a minute 3 times", "clocks", func(f *Facts) { f.Logs.All[0].Back = 3 }},
		{"rules", "last day", Note, "no event", "", func(f *Facts) { f.Rules = Rules{Since: noon.Add(-24 * time.Hour)} }},
		{"rules", "last day", Note, "could not be seen", "root", func(f *Facts) { f.Rules.NotSeen = errHidden }},
		{"rules", "read", Note, "took longer", "--patience", func(f *Facts) { f.Rules.Stopped = "reading took longer" }},
		{"rules", "users", Note, "1 user would be flagged", "password", func(f *Facts) {
			f.Rules.Flags = append(f.Rules.Flags, Flag{Target: "carol", User: true, At: noon, Action: "guard", Rule: "stolen"})
		}},
		{"rules", "good past", Warning, "1 of those sources had logged in 3 times or more over 6 hours before", "weir pin", func(f *Facts) {
			f.Rules.Flags[0].Logins, f.Rules.Flags[0].Users, f.Rules.Flags[0].First = 200, 12, noon.Add(-90*time.Hour)
		}},
	} {
		t.Run(c.field+"/"+c.subject+"/"+c.seen, func(t *testing.T) {
			if has(NewReport(well()), c.field, c.subject, c.severity, c.seen) != nil {
				t.Fatal("it is found on a host that is well")
			}
			f := well()
			c.change(f)
			r := NewReport(f)
			found := has(r, c.field, c.subject, c.severity, c.seen)
			if found == nil {
				for _, one := range r.Findings {
					if one.Severity != OK {
						t.Logf("%s, %s: %v: %s", one.Field, one.Subject, one.Severity, one.Seen)
					}
				}
				t.Fatalf("not found: %s, %s: %v: …%s…", c.field, c.subject, c.severity, c.seen)
			}
			if !strings.Contains(found.Remedy, c.remedy) || c.severity >= Warning && found.Remedy == "" {
				t.Errorf("the remedy is %q, want %q in it", found.Remedy, c.remedy)
			}
			for _, one := range r.Findings {
				if one.Severity > c.severity {
					t.Errorf("worse is found as well: %s, %s: %v: %s", one.Field, one.Subject, one.Severity, one.Seen)
				}
			}
		})
	}
}

func has(r *Report, field, subject string, severity Severity, seen string) *Finding {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Field == field && f.Subject == subject && f.Severity == severity && strings.Contains(f.Seen, seen) {
			return f
		}
	}
	return nil
}

func TestSockets(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue\n"
	tree := fstest.MapFS{
		"proc/self/net/tcp": {Data: []byte(head +
			"   0: 00000000:0019 00000000:0000 0A 0\n   1: 0100007F:0277 00000000:0000 0A 0\n   2: 190200C0:0019 500200C0:C000 01 0\nbroken\n")},
		"proc/self/net/tcp6": {Data: []byte(head +
			"   0: 00000000000000000000000000000000:024B 00000000000000000000000000000000:0000 0A 0\n" +
			"   1: 0000000000000000FFFF0000190200C0:0019 0000000000000000FFFF0000076433C6:C001 01 0\n")},
	}
	if !littleEndian() {
		t.Skip("the sample is of a little-endian host")
	}
	s, err := LookAtSockets(tree)
	if err != nil || len(s.Listening) != 2 || s.Listening[0] != 25 || s.Listening[1] != 587 {
		t.Errorf("listening: %v, %v", s.Listening, err)
	}
	if p := s.Peers[25]; len(p) != 2 || p[0].String() != "192.0.2.80" || p[1].String() != "198.51.100.7" {
		t.Errorf("peers: %v", p)
	}
	if _, err := LookAtSockets(fstest.MapFS{}); err == nil {
		t.Error("no error without /proc")
	}
}

func TestMissingSelectors(t *testing.T) {
	for value, want := range map[string]string{
		"": "received_recipients incoming_interface pid smtp_no_mail",
		"+received_recipients+incoming_interface + pid +smtp_no_mail": "",
		"+all":      "",
		"+all -pid": "pid",
		"-all +pid": "received_recipients incoming_interface smtp_no_mail",
		"pid":       "received_recipients incoming_interface pid smtp_no_mail",
	} {
		if got := strings.Join(missingSelectors(value), " "); got != want {
			t.Errorf("%q lacks %q, want %q", value, got, want)
		}
	}
}

// A network is spared if all of it is.
func TestSpares(t *testing.T) {
	s := Settings{Spared: []Spared{{netip.MustParsePrefix("10.0.0.0/8"), "allow"}, {netip.MustParsePrefix("2001:db8::/64"), "protect"}}}
	for text, want := range map[string]bool{"10.1.0.0/16": true, "10.0.0.0/7": false, "2001:db8::7/128": true, "192.0.2.1/32": false} {
		if _, got := s.spares(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s is spared: %v", text, got)
		}
	}
}
