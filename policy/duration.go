package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxDuration is the longest duration that weir accepts anywhere: ten years.
const MaxDuration = 3660 * 24 * time.Hour

// durationUnits holds the units of ParseDuration and FormatDuration, longest
// first. Weeks are read and never written.
var durationUnits = [...]struct {
	name string
	unit time.Duration
}{
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
}

var errDurationForm = errors.New("want numbers with units, such as 90s, 10m, 1h30m, 30d or 2w")

// ParseDuration reads a positive duration as operators write it: whole
// numbers each with a unit (s, m, h, d of 24 hours, w of 7 days), larger
// units first, each at most once: "90s", "1h30m", "30d", "2w". Unlike
// time.ParseDuration it knows days and takes no sign and no fraction.
func ParseDuration(s string) (time.Duration, error) {
	fail := func(err error) (time.Duration, error) {
		return 0, fmt.Errorf("bad duration %q: %w", s, err)
	}
	var sum time.Duration
	next := 0 // index of the largest unit that may follow
	for rest := s; rest != ""; {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		if digits == 0 || digits == len(rest) {
			return fail(errDurationForm)
		}
		u := next
		for u < len(durationUnits) && durationUnits[u].name[0] != rest[digits] {
			u++
		}
		if u == len(durationUnits) {
			return fail(errDurationForm)
		}
		n, err := strconv.ParseUint(rest[:digits], 10, 32)
		unit := durationUnits[u].unit
		if err != nil || n > uint64(MaxDuration/unit) {
			return fail(errors.New("longer than ten years"))
		}
		sum += time.Duration(n) * unit
		rest, next = rest[digits+1:], u+1
	}
	switch {
	case s == "":
		return fail(errDurationForm)
	case sum == 0:
		return fail(errors.New("must be longer than zero"))
	case sum > MaxDuration:
		return fail(errors.New("longer than ten years"))
	}
	return sum, nil
}

// FormatDuration writes d so that ParseDuration reads it back, rounded to
// seconds: "8m20s", "1d12h". Less than half a second is "0s".
func FormatDuration(d time.Duration) string {
	d = d.Round(time.Second)
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits[1:] {
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10))
			b.WriteString(u.name)
			d -= n * u.unit
		}
	}
	return b.String()
}
