package enforce

import (
	"fmt"
	"net/netip"
	"time"

	"weir/loader"
	"weir/policy"
)

// entryOf returns the table entry for a decision on a prefix. Nothing but an
// allow outlasts end, unless that is zero.
func entryOf(d *policy.Decision, end time.Time) (e loader.Entry, err error) {
	e = loader.Entry{Prefix: d.Prefix, Expires: d.Until, Keep: d.Pinned}
	if !end.IsZero() && d.Action != policy.Allow && (e.Expires.IsZero() || e.Expires.After(end)) {
		e.Expires = end
	}
	switch d.Action {
	case policy.Allow:
		e.Action = loader.ActionAllow
	case policy.Limit:
		e.Action = loader.ActionLimit
		e.Every, e.Burst, e.Bytes = d.Rate.Every, d.Rate.Burst, d.Rate.Bytes
		if e.Every != 0 {
			e.Burst = max(e.Burst, 1)
		}
	case policy.Drop:
		e.Action = loader.ActionDrop
	case policy.Tarpit:
		e.Action = loader.ActionTarpit
	default:
		return loader.Entry{}, fmt.Errorf("enforce %v: the kernel has no action %v", d.Target, d.Action)
	}
	return e, nil
}

// sameEnd is how far apart two ends may lie and still be the same: the kernel
// rounds them up to a second and a little, and its clock and the wall clock
// drift against each other while an entry stands.
const sameEnd = 2 * time.Second

// same reports whether the entry have says what want says.
func same(have, want loader.Entry) bool {
	return have.Action == want.Action && have.Keep == want.Keep && have.Every == want.Every && have.Burst == want.Burst && have.Bytes == want.Bytes &&
		have.Expires.IsZero() == want.Expires.IsZero() && have.Expires.Sub(want.Expires).Abs() < sameEnd
}

// without returns prefixes that together are p less the holes.
func without(p netip.Prefix, holes []netip.Prefix) []netip.Prefix {
	var inside []netip.Prefix
	for _, h := range holes {
		switch {
		case !h.Overlaps(p):
		case h.Bits() <= p.Bits():
			return nil
		default:
			inside = append(inside, h)
		}
	}
	if len(inside) == 0 {
		return []netip.Prefix{p}
	}
	low, high := halves(p)
	return append(without(low, inside), without(high, inside)...)
}

// halves splits p, which is not a single address, in two.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits()
	b := p.Masked().Addr().AsSlice()
	low = netip.PrefixFrom(p.Masked().Addr(), bits+1)
	b[bits/8] |= 0x80 >> (bits % 8)
	upper, _ := netip.AddrFromSlice(b)
	return low, netip.PrefixFrom(upper, bits+1)
}
