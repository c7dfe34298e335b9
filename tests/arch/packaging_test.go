package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/userspace/config"
)

// The configuration that is installed loads without a word, and so does the
// rule in its comments.
func TestInstalledConfiguration(t *testing.T) {
	path := filepath.Join(mustRoot(t), "packaging", "weir.toml")
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != config.Observe {
		t.Errorf("a fresh installation starts in mode %s", c.Mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever is commented out and looks like TOML, commented in.
	before, example, found := strings.Cut(string(text), "#\n# [[rule]]\n")
	if !found {
		t.Fatal("the configuration has no rule for an example")
	}
	example = "[[rule]]\n" + strings.ReplaceAll(example, "# ", "")
	c, err = config.Parse(path, []byte(before+example))
	if err != nil {
		t.Fatal(err)
	}
	_, quotas, found := strings.Cut(before, "# [postfix_policy]\n")
	if !found {
		t.Fatal("the configuration has no policy server for an example")
	}
	quotas, _, _ = strings.Cut("[postfix_policy]\n"+quotas, "\n\n# Without a [[rule]]")
	quotas = strings.NewReplacer("# [", "[", "# listen", "listen", "# over", "over", "# recipients", "recipients").Replace(quotas)
	if q, err := config.Parse(path, []byte(quotas)); err != nil || len(q.PostfixPolicy.Listen) != 1 || len(q.Quota.Users) != 1 {
		t.Errorf("the example of quotas: %v\n%s", err, quotas)
	}
	if len(c.Rules) != 1 || c.Rules[0].Name != "failures-per-source" {
		t.Errorf("the example gives %d rules", len(c.Rules))
	}
}

// Every section in the comments, commented in, loads as well.
func TestInstalledSections(t *testing.T) {
	path := filepath.Join(mustRoot(t), "packaging", "weir.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	in := false
	for line := range strings.Lines(string(text)) {
		bare := strings.TrimPrefix(line, "# ")
		switch {
		case bare == line:
			in = false
		case strings.HasPrefix(bare, "[dovecot_policy]"), strings.HasPrefix(bare, "[[list]]"), strings.HasPrefix(bare, "[dnsbl]"), strings.HasPrefix(bare, "[geo]"), strings.HasPrefix(bare, "[notify]"):
			in = true
		}
		if in {
			all.WriteString(bare)
		}
	}
	c, err := config.Parse(path, []byte(all.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Lists) != 1 || len(c.DovecotPolicy.Listen) != 1 || len(c.DNSBL.Zones) != 1 || c.Countries == "" || !c.Notify.Users || len(c.Notify.Command) != 2 {
		t.Errorf("the examples give %+v %+v %+v %+v", c.Lists, c.DovecotPolicy, c.DNSBL, c.Notify)
	}
}

// systemd has nothing to complain about in the unit.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
	unit, err := os.ReadFile(filepath.Join(mustRoot(t), "packaging", "weir.service"))
	if err != nil {
		t.Fatal(err)
	}
	// verify wants the program to be there.
	dir := t.TempDir()
	program := filepath.Join(dir, "weir")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	installed := strings.ReplaceAll(string(unit), "/usr/bin/weir", program)
	path := filepath.Join(dir, "weir.service")
	if err := os.WriteFile(path, []byte(installed), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// Exposure of at most 1.5 on systemd's scale of 10.
	out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", path).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
