package config

import (
	"fmt"
	"slices"
	"time"

	"weir/policy"
)

// Ceiling is how many connections any source may open, flagged or not.
type Ceiling struct {
	Rate  policy.Rate // zero: any number
	Ports []uint16    // nil: see CeilingPorts
}

// smtpPort is where mail comes from other servers, some of which are large.
const smtpPort = 25

// CeilingPorts returns the ports where the ceiling holds: those that are
// named, else those that are protected, except for port 25.
func (c *Config) CeilingPorts() []uint16 {
	if c.Ceiling.Ports != nil {
		return c.Ceiling.Ports
	}
	return slices.DeleteFunc(slices.Clone(c.Ports), func(p uint16) bool { return p == smtpPort })
}

// What the kernel program can hold.
const (
	fastestCeiling = time.Second / 10_000
	slowestCeiling = 24 * time.Hour
)

// off is the rate of a ceiling that there is not.
const off = "off"

// ceiling reads [ceiling].
func (c *Config) ceiling(top *section) {
	s := top.section("ceiling")
	if s == nil {
		return
	}
	if v, _ := s.get("rate"); v == off {
		c.Ceiling.Rate = policy.Rate{}
	} else if rate := s.rate("50/s"); rate.Every > 0 {
		c.Ceiling.Rate.Every = rate.Every
	}
	if burst, given := s.integer("burst", 1, maxBurst); given && c.Ceiling.Rate.Every > 0 {
		c.Ceiling.Rate.Burst = burst
	}
	if r := c.Ceiling.Rate; r.Every > 0 && !s.broken["rate"] && !s.broken["burst"] {
		switch {
		case r.Every < fastestCeiling:
			s.fail("rate", "is too fast to be held", `write 10000/s at most, or "off"`)
		case r.Every > slowestCeiling || r.Burst > int(slowestCeiling/r.Every):
			s.fail("burst", fmt.Sprintf("is %d, which takes longer than a day to come due again", r.Burst), fmt.Sprintf("write %d or less, or a higher rate", max(slowestCeiling/r.Every, 1)))
		}
	}
	for i, v := range s.list("ports", "[465, 587]") {
		n, ok := v.(int64)
		if !ok || n < 1 || n > 65535 || !slices.Contains(c.Ports, uint16(n)) {
			s.failElement("ports", i, "holds "+shown(v), fmt.Sprintf("write ports that are protected, without quotes: those of ports = %s", enumeratePorts(c.Ports)))
			continue
		}
		c.Ceiling.Ports = append(c.Ceiling.Ports, uint16(n))
	}
	s.finish()
}

func enumeratePorts(ports []uint16) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = fmt.Sprint(p)
	}
	return enumerate(words)
}
