package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompare compares a rule that is strict with one that is not.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	rule := func(name, threshold string) string {
		path := filepath.Join(dir, name)
		text := "allow = [\"198.51.100.0/28\"]\n[[rule]]\nname = \"failures\"\nevents = [\"auth_failure\"]\nper = \"source\"\nmeasure = \"events\"\n" +
			"threshold = " + threshold + "\nwithin = \"1h\"\naction = \"drop\"\nfor = \"1h\"\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	o := ReplayOptions{Compare: [2]string{rule("a.toml", "4"), rule("b.toml", "10")}, Logs: []string{"testdata/mail.log"}, Output: OutputText}
	var out bytes.Buffer
	if err := Replay(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"flagged by this one only              1          0",
		"only a flags:\n  2026-11-20T06:17:04Z  drop   2001:db8:77:1::/64   failures: 4 failed logins",
		"  a 2026-11-20T06:01:01Z  drop   203.0.113.9          failures: 4 failed logins",
		"  b 2026-11-20T06:01:43Z  drop   203.0.113.9          failures: 10 failed logins",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	again := out.String()
	out.Reset()
	if err := Replay(t.Context(), o, &out); err != nil || out.String() != again {
		t.Errorf("the second time it says\n%s, %v", out.String(), err)
	}
	out.Reset()
	o.Output = OutputJSONL
	if err := Replay(t.Context(), o, &out); err != nil || strings.Count(out.String(), "\n") < 3 || !strings.Contains(out.String(), `"b":null`) {
		t.Errorf("%s, %v", out.String(), err)
	}
}
