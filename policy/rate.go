package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is what a limit lets through: openings per unit of time with a burst,
// enforced as GCRA (ITU-T I.371), one opening each Every and up to Burst at
// once; and bytes of data a second on open connections, MinBytes to MaxBytes.
// A zero Every, or zero Bytes, is unlimited; the zero Rate is unset.
type Rate struct {
	Every time.Duration
	Burst int
	Bytes int64
}

// Bounds of Rate.Bytes, in bytes a second.
const (
	MinBytes = 1 << 10
	MaxBytes = 1 << 40
)

// PerMinute returns the sustained rate in openings a minute, 0 if unset.
func (r Rate) PerMinute() float64 {
	if r.Every <= 0 {
		return 0
	}
	return float64(time.Minute) / float64(r.Every)
}

// ParseRate reads "N/s", "N/m", "N/h" or "N/d", N a positive number. The
// burst is left for the caller to set, and is 1.
func ParseRate(s string) (Rate, error) {
	count, unit, found := strings.Cut(s, "/")
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	per, known := units[unit]
	n, err := strconv.ParseFloat(count, 64)
	if !found || !known || err != nil || !(n > 0) {
		return Rate{}, fmt.Errorf("bad rate %q: want a number and a unit, such as 6/m (units: s, m, h, d)", s)
	}
	every := time.Duration(float64(per) / n)
	if every <= 0 || float64(per)/n > float64(366*24*time.Hour) {
		return Rate{}, fmt.Errorf("rate %q is out of range: between 1000000/s and 1 a year", s)
	}
	return Rate{Every: every, Burst: 1}, nil
}

// byteUnits are the units of ParseBytes, largest first, in bytes.
var byteUnits = [...]struct {
	name string
	unit int64
}{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"B", 1}}

// ParseBytes reads a number of bytes a second as operators write it: "64K/s",
// "1.5M/s", the units K, M and G of 1024 each, or B for bytes. "/s" may be
// left out.
func ParseBytes(s string) (int64, error) {
	count := strings.TrimSuffix(s, "/s")
	for _, u := range byteUnits {
		number, found := strings.CutSuffix(count, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n > 0) {
			break
		}
		if n *= float64(u.unit); n < MinBytes || n > MaxBytes {
			return 0, fmt.Errorf("%q is out of range: between 1K/s and 1024G/s", s)
		}
		return int64(n), nil
	}
	return 0, fmt.Errorf("bad bytes a second %q: want a number and a unit, such as 64K/s (units: K, M, G)", s)
}

// FormatBytes writes bytes a second as ParseBytes reads them: "64K/s".
func FormatBytes(n int64) string {
	for _, u := range byteUnits {
		if n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.name + "/s"
		}
	}
	return ""
}

// String writes what is limited of openings, of bytes, or both: "6/m, 64K/s".
func (r Rate) String() string {
	openings := r.openings()
	switch {
	case r.Bytes == 0:
		return openings
	case openings == "":
		return FormatBytes(r.Bytes)
	}
	return openings + ", " + FormatBytes(r.Bytes)
}

// openings writes the rate a minute where that is between one and a thousand,
// else by the unit that makes it readable.
func (r Rate) openings() string {
	name, per := "d", 24*time.Hour
	switch {
	case r.Every <= 0:
		return ""
	case r.Every < time.Minute/1000:
		name, per = "s", time.Second
	case r.Every <= time.Minute:
		name, per = "m", time.Minute
	case r.Every <= time.Hour:
		name, per = "h", time.Hour
	}
	return strconv.FormatFloat(float64(per)/float64(r.Every), 'g', 4, 64) + "/" + name
}
