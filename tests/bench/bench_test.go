package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func source(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestCompare(t *testing.T) {
	truth := refusals{source("198.18.0.1"): 3, source("198.18.0.2"): 1, source("2001:db8::1"): 2}
	told := refusals{source("198.18.0.1"): 2, source("198.18.0.2"): 4, source("198.18.0.9"): 1}
	if found, beside := compare(told, truth); found != 3 || beside != 4 {
		t.Errorf("found %d and %d beside, want 3 and 4", found, beside)
	}
}

// What each contender says is read as it says it.
func TestTold(t *testing.T) {
	for name, test := range map[string]struct {
		told func(text string) (refusals, error)
		text string
	}{
		"weir": {
			func(s string) (refusals, error) { return weirTold(strings.NewReader(s)) },
			`{"time":"2026-11-20T07:00:00Z","kind":"connection","source":"198.18.0.9","line":1}
			 {"time":"2026-11-20T07:00:00Z","kind":"auth_failure","source":"198.18.0.1","line":2}
			 {"time":"2026-11-20T07:00:00Z","kind":"auth_failure","source":"2001:db8::1","line":3}`,
		},
		"sshguard": {
			func(s string) (refusals, error) { return newSSHGuard(options{}).told(strings.NewReader(s)) },
			"260 198.18.0.1 4 10\n100 198.18.0.9 4 10\n210 2001:db8::1 6 10\n",
		},
		"fail2ban": {
			func(s string) (refusals, error) { return newFail2ban(options{})[0].told(strings.NewReader(s)) },
			"198.18.0.1\n2001:db8::1\n",
		},
		"CrowdSec": {
			func(s string) (refusals, error) { return crowdsecTold(strings.NewReader(s)) },
			"OK:\n- Type: 0\n  Meta:\n    log_type_enh: spam-attempt\n    source_ip: 198.18.0.9\n" +
				"crowdsecurity/dovecot-spam:\n- Type: 0\n  Meta:\n    source_ip: 198.18.0.1\n" +
				"crowdsecurity/postfix-spam:\n- Type: 0\n  Meta:\n    log_type_enh: spam-attempt\n    source_ip: 2001:db8::1\n" +
				"- Type: 0\n  Meta:\n    action: reject\n    source_ip: 198.18.0.9\n",
		},
	} {
		told, err := test.told(test.text)
		if err != nil || len(told) != 2 || told[source("198.18.0.1")] != 1 || told[source("2001:db8::1")] != 1 {
			t.Errorf("%s: %v, %v", name, told, err)
		}
	}
}

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(path, []byte("above\n"+begin+"old\n"+end+"below\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := update(path, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if want := "above\n" + begin + "new\n" + end + "below\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
}

// The row of a peer that is not there says so.
func TestMissing(t *testing.T) {
	c, err := newCrowdSec(t.TempDir(), options{peers: t.TempDir()})
	if err != nil || c.missing == "" {
		t.Fatalf("missing %q, %v", c.missing, err)
	}
	l := &logs{}
	if text := table([]*contender{c}, l, options{}).String(); !strings.Contains(text, "NOT MEASURED") {
		t.Error(text)
	}
}

func TestMillions(t *testing.T) {
	if list, err := millions("1,30"); err != nil || len(list) != 2 || list[1] != 30e6 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := millions("x"); err == nil {
		t.Error("no error")
	}
}
