package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"weir/tests/lab"
)

// finding is one of `weir check -o json`.
type finding struct {
	Field    string `json:"field"`
	Subject  string `json:"subject"`
	Severity string `json:"severity"`
	Seen     string `json:"seen"`
	Remedy   string `json:"remedy"`
}

// mustCheck runs weir check where /etc/postfix and /etc/dovecot are the lab's,
// and returns what it found and its exit code.
func (s *stage) mustCheck() (found []finding, code int) {
	s.Helper()
	script := fmt.Sprintf("mount --bind %s /etc/postfix && mount --bind %s /etc/dovecot && exec %s --config %s check -o json",
		s.lab.Path("postfix", "etc"), s.lab.Path("dovecot"), s.weir.Binary, s.weir.Config)
	cmd := exec.CommandContext(s.Context(), "unshare", "--mount", "sh", "-c", script)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	var exit *exec.ExitError
	if err := s.lab.Mail.Do(cmd.Run); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.Fatalf("weir check: %v: %s", err, said.String())
	}
	var report struct {
		Findings []finding `json:"findings"`
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		s.Fatalf("weir check ended with %d: %v: %s%s", code, err, out.String(), said.String())
	}
	return report.Findings, code
}

// wantFinding wants one of a field and subject with a severity and a text.
func (s *stage) wantFinding(found []finding, field, subject, severity, seen string) {
	s.Helper()
	var others strings.Builder
	for _, f := range found {
		if f.Field == field && strings.Contains(f.Subject, subject) && f.Severity == severity && strings.Contains(f.Seen, seen) {
			return
		}
		if f.Field == field {
			fmt.Fprintf(&others, "\n%s: %s: %s", f.Subject, f.Severity, f.Seen)
		}
	}
	s.Errorf("not found: %s, %s: %s: …%s…; but%s", field, subject, severity, seen, others.String())
}

// A mail host is examined as it is: Postfix and Dovecot that run, an attack
// that they logged, the agent that dropped it, and what is wrong with them.
func TestCheckExaminesTheHost(t *testing.T) {
	s := mustStage(t, "enforce", "allow = [\"127.0.0.0/8\"]\n[postfix_policy]\nlisten = [\"unix:LAB/policy.sock\"]\n"+rules)
	if _, err := s.lab.Subjects(t.Context(), good4, "alice"); err != nil {
		t.Fatal(err)
	}
	s.guess(func(int) netip.Addr { return attacker4 })

	found, _ := s.mustCheck()
	log := "file:" + s.lab.MailLog()
	s.wantFinding(found, "agent", "running", "ok", fmt.Sprintf("pid %d answers", s.weir.PID()))
	s.wantFinding(found, "kernel", "program", "ok", "takes weir's program")
	s.wantFinding(found, "interfaces", lab.Interface, "ok", "native XDP is in force")
	s.wantFinding(found, "bpffs", "bpf/weir", "ok", "pinned")
	s.wantFinding(found, "configuration", "ports", "ok", "every protected port is served")
	s.wantFinding(found, "logs", log, "ok", "100 % of those that name clients understood")
	s.wantFinding(found, "postfix", "services", "ok", "submission and smtps")
	s.wantFinding(found, "postfix", "policy", "warning", "no mail server asks there")
	s.wantFinding(found, "rules", "last day", "ok", "the rules flag 1 source or prefix and 0 users")
	s.wantFinding(found, "proxies", "none", "ok", "")

	// A proxy in front of both, which nobody has told weir of, and a policy
	// server that is asked in vain.
	for name, more := range map[string]string{
		s.lab.Path("postfix", "etc", "main.cf"): "smtpd_upstream_proxy_protocol = haproxy\nsmtpd_recipient_restrictions = check_policy_service unix:/run/weir/other.sock\n",
		s.lab.Path("dovecot", "dovecot.conf"):   "haproxy_trusted_networks = 198.51.100.80 198.51.0.0/16\n",
	} {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(more); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	held, err := s.lab.Submission(t.Context(), good4, 587)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	found, code := s.mustCheck()
	if code != 7 {
		t.Errorf("with an error it ended with %d", code)
	}
	s.wantFinding(found, "proxies", "port submission", "warning", good4.String()+", connected now, may be shut out")
	s.wantFinding(found, "proxies", "198.51.100.80/32", "ok", "protect: a proxy that Dovecot trusts")
	s.wantFinding(found, "proxies", "198.51.0.0/16", "warning", "it may be shut out")
	s.wantFinding(found, "postfix", "policy", "error", "all mail that comes there is deferred")
}

// Without an agent, with another's program on the interface and a state folder
// in memory, what would be is told, and nothing is touched.
func TestCheckBesideForeignProgram(t *testing.T) {
	s := mustStageWith(t, lab.Options{Bare: true}, "observe", "")
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "GPL", Name: "foreign", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	var before, after int
	look := func(into *int) func() error {
		return func() error {
			l, err := netlink.LinkByName(lab.Interface)
			if err == nil && l.Attrs().Xdp != nil {
				*into = int(l.Attrs().Xdp.ProgId)
			}
			return err
		}
	}
	err = s.lab.Mail.Do(func() error {
		l, err := netlink.LinkByName(lab.Interface)
		if err != nil {
			return err
		}
		at, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: l.Attrs().Index})
		t.Cleanup(func() { _ = at.Close() })
		return errors.Join(err, look(&before)())
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	out, err := s.weir.Run(t.Context(), "check", "-o", "json")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("examined in %v", time.Since(begun).Round(time.Millisecond))
	var report struct {
		Findings []finding `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.wantFinding(report.Findings, "agent", "running", "note", "no agent runs")
	s.wantFinding(report.Findings, "interfaces", lab.Interface, "note", "is expected")
	s.wantFinding(report.Findings, "configuration", "ports", "warning", "nobody listens on any")
	if err := s.lab.Mail.Do(look(&after)); err != nil || before == 0 || before != after {
		t.Errorf("program %d was there, and %d is (%v)", before, after, err)
	}
}
