package loader

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The kernel program knows only CLOCK_MONOTONIC, entries carry wall time. A
// wall time is converted once, when its entry is put, by the distance between
// the two clocks at that moment. So an entry lasts as long as was meant when
// it was put: a later step of the wall clock does not shorten or lengthen it,
// and the time a machine is suspended does not count. Entries read back are
// converted by the distance at that moment.

// clocks reads both clocks at one moment.
type clocks func() (monotonic uint64, wall time.Time, err error)

// clocksOf reads the kernel's clock beside a wall clock. What package time goes
// by is that clock too, and costs no system call: one tells how far it had come.
func clocksOf(now func() time.Time) clocks {
	begun, monotonic, err := readMonotonic()
	return func() (uint64, time.Time, error) {
		return monotonic + uint64(time.Since(begun)), now(), err
	}
}

// readMonotonic reads CLOCK_MONOTONIC, in nanoseconds, at a moment of package
// time: a few times, of which the one that took least is the most exact.
func readMonotonic() (at time.Time, monotonic uint64, err error) {
	least := time.Duration(math.MaxInt64)
	for range 8 {
		var ts unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return at, 0, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
		}
		if took := time.Since(before); took < least {
			least, at, monotonic = took, before, uint64(ts.Nano())-uint64(took/2)
		}
	}
	return at, monotonic, nil
}

// ticks tells how long a tick of the kernel is, and when the first would have
// been on CLOCK_MONOTONIC, both in nanoseconds. The kernel moves its ticks by
// that clock (tick_do_update_jiffies64), so both hold until the next start of
// the machine.
func ticks(clock *ebpf.ProgramSpec) (tick, boot uint64, err error) {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &res); err != nil {
		return 0, 0, fmt.Errorf("read the length of a tick: %w", err)
	}
	program, err := ebpf.NewProgram(clock)
	if err != nil {
		return 0, 0, fmt.Errorf("load program: %w", explain(err))
	}
	defer program.Close()
	_, packet, err := program.Test(make([]byte, 64))
	if err != nil {
		return 0, 0, fmt.Errorf("read the kernel's clocks: %w", explain(err))
	}
	count, now := binary.NativeEndian.Uint64(packet), binary.NativeEndian.Uint64(packet[8:])
	tick = uint64(res.Nano())
	return tick, now - count*tick, nil
}

// moment is one reading of both clocks.
type moment struct {
	monotonic uint64
	wall      time.Time
}

func (c clocks) read() (moment, error) {
	monotonic, wall, err := c()
	// Without its own monotonic reading, so that arithmetic is on wall time.
	return moment{monotonic, wall.Round(0)}, err
}

// forever is how far ahead an end must lie to be none at all; beyond it
// time.Duration saturates.
const forever = 200 * 365 * 24 * time.Hour

// toKernel converts an end in wall time. The zero time is 0, no end; what has
// ended already is 1, the earliest end there is.
func (m moment) toKernel(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	left := t.Sub(m.wall)
	if left > forever {
		return 0
	}
	if ended := int64(m.monotonic)+int64(left) < 1; left < 0 && ended {
		return 1
	}
	return uint64(int64(m.monotonic) + int64(left))
}

// toWall is the reverse of toKernel, rounded to milliseconds, since the two
// clocks are not read at exactly the same time.
func (m moment) toWall(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return m.wall.Add(time.Duration(int64(ns) - int64(m.monotonic))).Round(time.Millisecond)
}
