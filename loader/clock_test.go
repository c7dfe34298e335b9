package loader

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClockConversion(t *testing.T) {
	at := moment{monotonic: uint64(time.Hour), wall: simulationStart}
	for name, c := range map[string]struct {
		wall time.Time
		want uint64
		back time.Time
	}{
		"no end":                 {time.Time{}, 0, time.Time{}},
		"now":                    {simulationStart, uint64(time.Hour), simulationStart},
		"ahead":                  {simulationStart.Add(time.Minute), uint64(61 * time.Minute), simulationStart.Add(time.Minute)},
		"past":                   {simulationStart.Add(-time.Minute), uint64(59 * time.Minute), simulationStart.Add(-time.Minute)},
		"before the machine ran": {simulationStart.Add(-2 * time.Hour), 1, simulationStart.Add(-time.Hour)},
		"1970":                   {time.Unix(0, 0), 1, simulationStart.Add(-time.Hour)},
		"beyond all bounds":      {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0, time.Time{}},
		"in another zone":        {simulationStart.In(time.FixedZone("", 7200)), uint64(time.Hour), simulationStart},
	} {
		if got := at.toKernel(c.wall); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if back := at.toWall(c.want); !back.Equal(c.back) {
			t.Errorf("%s: back to %s, want %s", name, back, c.back)
		}
	}
}

// The kernel's clock is read within microseconds, and goes on as it does.
func TestMonotonic(t *testing.T) {
	read := clocksOf(time.Now)
	for range 1000 {
		var before, after unix.Timespec
		mustDo(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &before))
		got, _, err := read()
		mustDo(t, err)
		mustDo(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &after))
		const off = uint64(time.Millisecond)
		if got+off < uint64(before.Nano()) || got > uint64(after.Nano())+off {
			t.Fatalf("%d is not between %d and %d", got, before.Nano(), after.Nano())
		}
	}
}

// On the machine's own clocks, what was put is read back and ends by itself.
func TestRealClock(t *testing.T) {
	d := mustOpen(t, testOptions(t))
	later := Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop, Expires: time.Now().Add(time.Hour)}
	soon := Entry{Prefix: prefix("192.0.2.2/32"), Action: ActionDrop, Expires: time.Now().Add(300 * time.Millisecond)}
	mustDo(t, d.Put(later, soon))
	got, _, err := d.Get(later.Prefix)
	if off := got.Expires.Sub(later.Expires).Abs(); err != nil || off > endUnit {
		t.Errorf("end read back is off by %s (%v)", off, err)
	}
	eventually(t, "the entry ends", func() bool { return run(t, d, syn4("192.0.2.2")) == xdpPass })
	if now := time.Now(); now.Before(soon.Expires) {
		t.Errorf("the entry ended %s early", soon.Expires.Sub(now))
	}
	if run(t, d, syn4("192.0.2.1")) != xdpDrop {
		t.Error("the lasting entry is not in force")
	}
}
