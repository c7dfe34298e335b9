package loader

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestInterruptedDumps: interfaces that come and go for a while do not keep
// the agent from starting, and what fails otherwise fails at once.
func TestInterruptedDumps(t *testing.T) {
	interrupted := os.NewSyscallError("recvfrom", unix.EINTR)
	for _, test := range []struct {
		name  string
		err   error
		times int
		want  error
		tries int
	}{
		{"whole", nil, 0, nil, 1},
		{"changing for a while", netlink.ErrDumpInterrupted, 8, nil, 9},
		{"a signal", interrupted, 1, nil, 2},
		{"changing for ever", netlink.ErrDumpInterrupted, 1000, netlink.ErrDumpInterrupted, 11},
		{"not permitted", unix.EPERM, 1000, unix.EPERM, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, tries := time.Now(), 0
				got, err := whole(func() (int, error) {
					if tries++; tries <= test.times {
						return -1, test.err
					}
					return 7, nil
				})
				if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || tries != test.tries || err == nil && got != 7 {
					t.Errorf("%d, %v after %d tries", got, err, tries)
				}
				if took := time.Since(start); took > 1100*time.Millisecond {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
