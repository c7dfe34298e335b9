package main

import "weir/userspace/control"

// tellPolicy writes what mail servers have asked, and what became of it.
func tellPolicy(b *blocks, p *control.PolicyServer) {
	for i := range p.Listeners {
		l := &p.Listeners[i]
		if l.Error != "" {
			b.linef("policy\t%s: FAILING: %s", printable(l.Address), printable(l.Error))
			continue
		}
		b.linef("policy\t%s: %s on %s, %s open", printable(l.Address), plural(l.Requests, "request"), plural(l.Connections, "connection"), count(l.Open))
		for _, c := range []struct {
			n    uint64
			what string
		}{
			{l.Malformed, "not understood, or not policy requests"}, {l.Oversized, "too long"}, {l.Late, "not there, or not taken, in time"},
		} {
			if c.n > 0 {
				b.linef("\t%s %s: their connections were closed", plural(c.n, "request"), c.what)
			}
		}
		if l.Refused > 0 {
			b.linef("\trefused %s, of too many or of those who may not ask", plural(l.Refused, "connection"))
		}
	}
	b.linef("\t%s counted; refused: %s over a quota, %s limited, %s deferred, %s from strangers of guarded users", plural(p.Messages, "message"),
		count(p.OverQuota), count(p.Limited), count(p.Deferred), count(p.Strangers))
	if p.Lost > 0 {
		b.linef("\t%s LOST: the agent was too busy to judge them", plural(p.Lost, "event"))
	}
}
