package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of openings per unit of time with a burst, enforced as
// GCRA (ITU-T I.371): one opening each Every, and up to Burst at once.
// The zero Rate is unset.
type Rate struct {
	Every time.Duration
	Burst int
}

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

// String writes the rate a minute where that is between one and a thousand,
// else by the unit that makes it readable.
func (r Rate) String() string {
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
