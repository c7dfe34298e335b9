package e2e

import (
	"os"
	"strings"
	"testing"

	"weir/tests/lab"
)

// An interface that is named and missing is reported, and the others are
// protected meanwhile.
func TestMissingInterface(t *testing.T) {
	s := mustStage(t, "enforce", rules)
	text, err := os.ReadFile(s.weir.Config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `["`+lab.Interface+`"]`, `["`+lab.Interface+`", "wan9"]`, 1)
	if err := os.WriteFile(s.weir.Config, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.weir.Stop(); err != nil {
		t.Fatal(err)
	}
	s.mustStart()
	mode := func(name string) (string, string) {
		for _, i := range s.mustStatus().Interfaces {
			if i.Name == name {
				return i.Mode, i.Reason
			}
		}
		return "", ""
	}
	s.mustPoll(lab.Patience, "the interface to be attached", func() bool { m, _ := mode(lab.Interface); return m == "native" })
	if m, reason := mode("wan9"); m != "none" || reason == "" {
		t.Errorf("a missing interface has mode %q, reason %q", m, reason)
	}
	s.mustContain(s.must("status"), "wan9")
	s.guess(fixed(attacker4))
	s.wantReachable(false, attacker4)
}
