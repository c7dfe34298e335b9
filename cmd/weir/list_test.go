package main

import (
	"testing"

	"weir/userspace/control"
)

func TestReasonSaysWhatDoesNothing(t *testing.T) {
	for _, c := range []struct {
		row  control.Row
		want string
	}{
		{control.Row{Source: "192.0.2.1", InForce: true, Reason: "r"}, "r"},
		{control.Row{Source: "192.0.2.1", Reason: "r"}, "[not in force] r"},
		{control.Row{Source: "192.0.2.1", OverriddenBy: "pin", Reason: "r"}, "[overridden by pin] r"},
		{control.Row{User: "bob", Reason: "r"}, "r"}, // no kernel entry stands for a user
	} {
		if got := reasonWords(&c.row); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.row, got, c.want)
		}
	}
}
