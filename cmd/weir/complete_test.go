package main

import (
	"strings"
	"testing"

	"weir/userspace/control/controltest"
)

func TestCompletion(t *testing.T) {
	s := mustStage(t, controltest.Scene(noon))
	off := mustWrite(t, s.dir, "off.toml", "control_socket = \"/nonexistent/weir.sock\"\n")
	for _, test := range []struct{ typed, want string }{
		{"unpin ", "203.0.113.0/24 2001:db8::/64"},
		{"unpin 2001:db8::/64 ", "203.0.113.0/24"},
		{"release ", "bob@example.org 203.0.113.9 2001:db8::/64"},
		{"release 203", "203.0.113.9"},
		{"release bob@example.org ", ""},
		{"explain b", "bob@example.org"},
		{"list --rule ", "user-recipients source-failures source-users"},
		{"list --action ", "allow limit tarpit drop defer guard quota"},
		{"pin 192.0.2.1 --action ", "allow drop limit tarpit"},
		{"status -o ", "text json"},
		{"--config " + off + " explain ", ""},
	} {
		words := strings.Split(test.typed, " ")
		if code := s.weir(append([]string{"__complete"}, words...)...); code != 0 {
			t.Errorf("%q: code %d", test.typed, code)
		}
		var got []string
		for line := range strings.Lines(s.out.String()) {
			if name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); !strings.HasPrefix(name, ":") {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q completes to %q, want %q\n%s", test.typed, got, test.want, &s.err)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code := s.weir("completion", shell); code != 0 || s.out.Len() == 0 {
			t.Errorf("completion %s: code %d", shell, code)
		}
	}
}
