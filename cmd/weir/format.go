package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// printable makes text that others wrote (user names, log lines, comments)
// safe to show: what is not printable becomes an escape of Go's.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// count writes n with its thousands apart: 1,234,567.
func count[T int | int64 | uint64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// plural writes n things.
func plural[T int | int64 | uint64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return count(n) + " " + thing + "s"
}

// rate writes a rate a second or a minute with as few digits as tell it.
func rate(r float64) string {
	if r == 0 {
		return "0"
	}
	if r >= 100 {
		return count(int64(r + 0.5))
	}
	return strconv.FormatFloat(r, 'g', 3, 64)
}

// size writes a number of bytes.
func size(bytes int64) string {
	f := float64(bytes)
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if f < 1024 {
			return strconv.FormatFloat(f, 'f', min(len(unit)-1, 1), 64) + " " + unit
		}
		f /= 1024
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " GiB"
}

// span writes d in its two largest units, rounded: 3d4h, 12m5s, 45s.
func span(d time.Duration) string {
	units := []struct {
		name string
		unit time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	d = d.Round(time.Second)
	for i, u := range units[:3] {
		if d < u.unit {
			continue
		}
		next := units[i+1]
		if d = d.Round(next.unit); i > 0 && d == units[i-1].unit {
			return "1" + units[i-1].name
		}
		text := fmt.Sprintf("%d%s", d/u.unit, u.name)
		if rest := d % u.unit / next.unit; rest > 0 {
			text += fmt.Sprintf("%d%s", rest, next.name)
		}
		return text
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// ago writes how long t has been.
func ago(now, t time.Time) string {
	if t.After(now) {
		return "in " + span(t.Sub(now)) // a clock was set back
	}
	return span(now.Sub(t)) + " ago"
}

// ahead writes when until comes; nil never does.
func ahead(now time.Time, until *time.Time) string {
	switch {
	case until == nil:
		return "never"
	case !until.After(now):
		return "now"
	}
	return "in " + span(until.Sub(now))
}

// stamp writes t in full, in the zone of now.
func stamp(now, t time.Time) string {
	return t.In(now.Location()).Format("2006-01-02 15:04:05 MST")
}

// seconds writes a duration that came as seconds.
func seconds(s float64) string {
	switch {
	case s > 0 && s < 0.01:
		return fmt.Sprintf("%.2gms", s*1000)
	case s < 1:
		return fmt.Sprintf("%.0fms", s*1000)
	case s < 10:
		return fmt.Sprintf("%.1fs", s)
	}
	return span(time.Duration(s * float64(time.Second)))
}

// percent writes how much of whole part is, without decimals that nobody
// reads.
func percent(part, whole int) string {
	p := 100 * float64(part) / float64(whole)
	switch {
	case part > 0 && p < 1:
		return "under 1 %"
	case part < whole && p > 99:
		return "over 99 %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}
