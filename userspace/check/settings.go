package check

import (
	"net/netip"
	"slices"
	"strings"
)

// Settings are what of weir's configuration the rest is compared with.
type Settings struct {
	File          string
	Enforce       bool
	Ports         []uint16
	Spared        []Spared
	StateDir      string
	PolicyListen  []string // "unix:PATH", "tcp:ADDRESS:PORT"
	DovecotListen []string
	Network       []string // keys that have the agent speak IP
}

// Spared is a network that is never shut out.
type Spared struct {
	Prefix netip.Prefix
	Why    string // "allow", or who that is
}

// spares returns why all of a network is spared.
func (s *Settings) spares(p netip.Prefix) (why string, all bool) {
	i := slices.IndexFunc(s.Spared, func(x Spared) bool { return x.Prefix.Bits() <= p.Bits() && x.Prefix.Contains(p.Addr()) })
	if i < 0 {
		return "", false
	}
	return s.Spared[i].Why, true
}

// listed joins what people read: "a, b and c".
func listed(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
