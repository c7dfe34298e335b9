package control_test

import (
	"errors"
	"testing"

	"weir/userspace/control"
)

// TestMisspeltSourceIsNoUser: what looks like an address must be one.
func TestMisspeltSourceIsNoUser(t *testing.T) {
	for _, s := range []string{"fe80::1%eth0", "300.1.1.1", "10.0.0.0/33", "2001:db8::/129", "1.2.3"} {
		if target, err := control.ParseTarget(s); !errors.Is(err, control.ErrInvalid) {
			t.Errorf("%q is read as %+v, %v", s, target, err)
		}
	}
	for _, s := range []string{"bob", "bob@example.org", "50%off", "2001", "dead.beef"} {
		if target, err := control.ParseTarget(s); err != nil || target.User != s {
			t.Errorf("%q is read as %+v, %v", s, target, err)
		}
	}
}
