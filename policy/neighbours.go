package policy

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// ringLength is how many bad sources of one neighbourhood are remembered: the
// latest ones, each once. That is as many as a rule per prefix may ask for.
const ringLength = 8

// net is a neighbourhood: an IPv4 /24, or an IPv6 /48. Its sixteenths are what
// it can be divided into, IPv4 /28 and IPv6 /52, one bit each.
type net struct {
	source Source           // it begins with
	ring   [ringLength]seed // bad sources
	good   uint16           // sixteenths that somebody has succeeded from
	held   uint16           // sixteenths under the decision
	until  int64            // end of the decision, 0 for none
	praise int64            // time of the latest new good source

	offences uint16
	action   Action
	parts    parts // that are under the decision
}

// seed is a bad source within its neighbourhood, and when it last offended; 0
// is none.
type seed struct {
	at   int64
	line uint32 // of its input, the lower half
	host uint16 // IPv4: the last 8 bits; IPv6: the 16 bits after the /48
	kind Kind   // of what it did
}

// parts is a set of what a neighbourhood can be divided into: a bit for the
// whole, then one for each half, and so on down to the sixteenths.
type parts uint32

func (p part) bit() parts { return 1 << (16/p.count - 1 + p.first/p.count) }

// within takes out of a set the parts that lie within p and are not p.
func (set *parts) within(p part) (inner []part) {
	for count := p.count / 2; count > 0; count /= 2 {
		for first := p.first; first < p.first+p.count; first += count {
			if q := (part{first, count}); *set&q.bit() != 0 {
				*set &^= q.bit()
				inner = append(inner, q)
			}
		}
	}
	return inner
}

func hostOf(s Source) uint16 {
	if s.family == 4 {
		return uint16(s.net & 0xff)
	}
	return uint16(s.net)
}

// sixteenth returns the bit of a host.
func (n *net) sixteenth(host uint16) uint16 {
	if n.source.family == 4 {
		return 1 << (host >> 4)
	}
	return 1 << (host >> 12)
}

// netTable finds neighbourhoods. It holds only those in which somebody failed
// who was a stranger, or somebody succeeded.
type netTable struct {
	key   sourceKey
	limit int
	index index
	nets  clock[net]
}

func (t *netTable) find(source Source) uint32 {
	source = source.neighbourhood()
	hash := t.key.hash(source)
	for at := hash; ; {
		if n := t.index.probe(hash, &at); n == 0 || t.nets.at(n).source == source {
			return n
		}
	}
}

// enter returns the number of the neighbourhood of source.
func (t *netTable) enter(source Source) uint32 {
	n := t.find(source)
	switch {
	case n != 0:
		t.nets.touch(n)
		return n
	case int(t.nets.len()) < t.limit:
		n = t.nets.add()
	default:
		n = t.nets.leave()
		t.index.remove(t.key.hash(t.nets.at(n).source), n)
		t.nets.clear(n)
	}
	t.nets.at(n).source = source.neighbourhood()
	t.index.put(t.key.hash(source.neighbourhood()), n)
	return n
}

// under returns the action that the part of a neighbourhood in which source is
// stands under at a time, 0 for none.
func (t *netTable) under(source Source, at int64) Action {
	if t.nets.len() == 0 {
		return 0
	}
	if i := t.find(source); i != 0 {
		if n := t.nets.at(i); at < n.until && n.held&n.sixteenth(hostOf(source)) != 0 {
			return n.action
		}
	}
	return 0
}

// praise notes that somebody succeeded from source, and takes back what the
// source itself has added.
func (t *netTable) praise(source Source, at int64) {
	i := t.enter(source)
	n := t.nets.at(i)
	n.good |= n.sixteenth(hostOf(source))
	n.praise = max(n.praise, at)
	t.nets.classify(i, classTrusted)
	t.forget(n, source)
}

func (t *netTable) forget(n *net, source Source) {
	for j := range n.ring {
		if n.ring[j].host == hostOf(source) {
			n.ring[j] = seed{}
		}
	}
}

// pardon takes back what a source has added.
func (t *netTable) pardon(source Source) {
	if i := t.find(source); i != 0 {
		t.forget(t.nets.change(i), source)
	}
}

// release lifts what stands on the neighbourhoods within p, or around it, and
// forgets what was counted there.
func (t *netTable) release(p netip.Prefix) {
	for i := uint32(1); i <= t.nets.len(); i++ {
		n := t.nets.at(i)
		if n.prefix(part{0, 16}).Overlaps(p) {
			n = t.nets.change(i)
			n.ring, n.until, n.held, n.offences, n.parts = [ringLength]seed{}, 0, 0, 0, 0
		}
	}
}

// add notes that a source has offended, and returns how many have
// within the time of a rule.
func (n *net) add(o *observation, within int64) int {
	host := hostOf(o.source())
	place := 0
	for j := range n.ring {
		s := &n.ring[j]
		if s.at != 0 && s.host == host {
			place = j
			break
		}
		if s.at < n.ring[place].at {
			place = j
		}
	}
	n.ring[place] = seed{max(o.at, n.ring[place].at), uint32(o.line), host, o.kind}
	newest := int64(0)
	for _, s := range n.ring {
		newest = max(newest, s.at)
	}
	bad := 0
	for j := range n.ring {
		switch s := &n.ring[j]; {
		case s.at == 0:
		case newest-s.at >= within:
			*s = seed{}
		default:
			bad++
		}
	}
	return bad
}

// prefix returns a part of n.
func (n *net) prefix(p part) netip.Prefix {
	s := n.source
	whole := 24
	if s.family == 6 {
		whole = 48
		s.net |= uint64(p.first) << 12
	} else {
		s.net |= uint64(p.first) << 4
	}
	return netip.PrefixFrom(s.Prefix().Addr(), whole+4-bits.TrailingZeros(uint(p.count)))
}

// part is sixteenths that stand together, from first on.
type part struct{ first, count int }

func (p part) mask() uint16 { return uint16((1<<p.count - 1) << p.first) }

// cover returns the widest parts of n that hold bad sources and no good one,
// within the narrowest part that holds all of the bad.
func (n *net) cover() (cover []part, held uint16) {
	bad := uint16(0)
	for _, s := range n.ring {
		if s.at != 0 {
			bad |= n.sixteenth(s.host)
		}
	}
	all := part{bits.TrailingZeros16(bad), 1}
	for all.mask()&bad != bad {
		all.count *= 2
		all.first &^= all.count - 1
	}
	var split func(part)
	split = func(p part) {
		switch {
		case p.mask()&bad == 0:
		case p.mask()&n.good == 0:
			cover = append(cover, p)
			held |= p.mask()
		case p.count > 1:
			split(part{p.first, p.count / 2})
			split(part{p.first + p.count/2, p.count / 2})
		}
	}
	split(all)
	return cover, held
}

// observeNeighbours judges the neighbourhood of a stranger that has offended.
func (e *Engine) observeNeighbours(p *plan, h *happening, out []Decision) []Decision {
	r := p.rule
	i := e.nets.enter(h.source)
	n := e.nets.nets.at(i)
	if n.good != 0 && h.at-n.praise > int64(FamiliarFor) {
		n.good = 0
	}
	need := r.Threshold
	if n.good != 0 {
		need = ringLength // people live here
	}
	if n.add(&h.observation, int64(r.Within)) < need || e.now < n.until && n.held&n.sixteenth(hostOf(h.source)) != 0 {
		return out
	}
	cover, held := n.cover()
	if held == 0 || e.now < n.until && held&^n.held == 0 {
		return out
	}
	if e.now >= n.until {
		n.offences = offence(n.offences, n.until, e.now, r)
		lasts := int(n.offences)
		if n.good != 0 {
			lasts = 1 // people live there, and who has one of its addresses tomorrow is another
		}
		n.until = e.now + int64(r.Lasts(lasts))
		n.held, n.parts = 0, 0
	}
	n.held |= held
	n.action = r.Action
	e.nets.nets.classify(i, classBad)
	evidence := e.neighbourEvidence(n, h)
	reason := n.reason(&evidence)
	for _, p := range cover {
		if n.parts&p.bit() != 0 {
			continue // it is under the decision already, which ends at the same time
		}
		n.parts |= p.bit()
		d := Decision{
			Target: Target{Prefix: n.prefix(p)}, Action: r.Action, Rate: r.Rate, Since: instant(e.now), Until: instant(n.until),
			Rule: r.Name, Reason: reason, Offence: int(n.offences), Evidence: evidence,
		}
		out = append(out, d)
		for _, inner := range n.parts.within(p) {
			out = append(out, Decision{
				Target: Target{Prefix: n.prefix(inner)}, Action: Release, Since: d.Since, Rule: r.Name,
				Reason: "the decision on " + d.Target.String() + " stands in its place", Evidence: evidence,
			})
		}
	}
	return out
}

// neighbourEvidence is the latest offence of each bad source that counted.
func (e *Engine) neighbourEvidence(n *net, h *happening) (ev Evidence) {
	for _, s := range n.ring {
		if s.at == 0 {
			continue
		}
		ob := Observation{Time: instant(s.at), Kind: s.kind, Source: n.address(s.host), Line: h.line&^math.MaxUint32 | uint64(s.line)}
		if s.host == hostOf(h.source) {
			ob = e.testimony(&h.observation)
		}
		ev.Sample = append(ev.Sample, ob)
	}
	slices.SortStableFunc(ev.Sample, func(a, b Observation) int { return a.Time.Compare(b.Time) })
	ev.Count = len(ev.Sample)
	ev.FirstLine, ev.LastLine = ev.Sample[0].Line, ev.Sample[ev.Count-1].Line
	return ev
}

// reason tells how many sources failed in n, and in what time.
func (n *net) reason(ev *Evidence) string {
	sum := numbers{observations: ev.Count, sources: ev.Count}
	sum.span = ev.Sample[ev.Count-1].Time.Sub(ev.Sample[0].Time)
	reason := count(ev.Count, "source", "sources") + " failed" + during(sum) + " in " + PrefixString(n.prefix(part{0, 16})) +
		", and none of them ever succeeded"
	if n.good != 0 {
		reason += "; where somebody succeeds is left out"
	}
	return reason
}

// address returns the address that a host's source begins with.
func (n *net) address(host uint16) netip.Addr {
	s := n.source
	s.net |= uint64(host)
	return s.Prefix().Addr()
}
