package agent

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"weir/loader"
	"weir/userspace/config"
)

// Where nothing was left, nothing is touched and nothing is needed.
func TestDetachNothing(t *testing.T) {
	c := config.Default()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		c.BPFFS = dir
		if found, err := Detach(c, slog.New(slog.DiscardHandler)); found || err != nil {
			t.Errorf("%s: %t, %v", dir, found, err)
		}
	}
}

func TestProtection(t *testing.T) {
	on := loader.Attachment{Interface: "eth0", Index: 2, Mode: loader.ModeNative}
	off := loader.Attachment{Interface: "eth1", Index: 3, Mode: loader.ModeNone}
	missing := loader.Attachment{Interface: "eth2", Mode: loader.ModeNone}
	for _, c := range []struct {
		name      string
		all       []loader.Attachment
		somewhere bool
		problem   string
	}{
		{"nothing is selected", nil, false, "no interface"},
		{"one", []loader.Attachment{on}, true, ""},
		{"one, and another does not exist", []loader.Attachment{on, missing}, true, ""},
		{"one of two", []loader.Attachment{on, off}, true, "not on eth1"},
		{"refused", []loader.Attachment{off}, false, "no interface"},
		{"none exists", []loader.Attachment{missing}, false, "no interface"},
	} {
		somewhere, problem := protection(c.all)
		if somewhere != c.somewhere || !strings.Contains(problem, c.problem) || problem != "" && c.problem == "" {
			t.Errorf("%s: %v, %q", c.name, somewhere, problem)
		}
	}
}
