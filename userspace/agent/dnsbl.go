package agent

import (
	"fmt"
	"net/netip"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/dnsbl"
)

// dnsblService has DNS lists asked about the sources of logins.
func (a *Agent) dnsblService() *service {
	return &service{
		name: "asking DNS lists",
		wants: func(c *config.Config) (any, error) {
			if len(c.DNSBL.Zones) == 0 {
				return nil, nil
			}
			return c.DNSBL, nil
		},
		start: func(c *config.Config) (stop func(), err error) {
			o := dnsbl.DefaultOptions()
			o.Zones, o.Found, o.Now, o.Logger = c.DNSBL.Zones, a.named, a.o.Now, a.log
			if c.DNSBL.Resolver.IsValid() {
				o.Resolver = dnsbl.ResolverAt(c.DNSBL.Resolver)
			}
			lookup, err := dnsbl.New(o)
			if err != nil {
				return nil, err
			}
			end := background(lookup.Run)
			a.lookup.Store(lookup)
			return func() {
				a.lookup.Store(nil)
				end()
			}, nil
		},
	}
}

// named hears that a DNS list names a source.
func (a *Agent) named(addr netip.Addr, zone string) {
	a.ears.hear(heard{
		event:  policy.Event{Time: a.o.Now(), Kind: policy.Listed, Source: addr, Server: zone},
		text:   fmt.Sprintf("%s names %s", zone, addr),
		counts: true,
	})
}

// ask has DNS lists asked about a source that logs in, or tries to, and has no
// past here. It must run in a turn of the core.
func (c *core) ask(e *policy.Event) {
	lookup := c.a.lookup.Load()
	if lookup == nil || c.engine.Regard(e.Source, e.User, e.Time).Trusted {
		return
	}
	lookup.Ask(e.Source)
}

func (a *Agent) dnsblNote() (string, bool) {
	lookup := a.lookup.Load()
	if lookup == nil {
		return "", false
	}
	s := lookup.Stats()
	note := fmt.Sprintf("DNS lists were asked about %d sources and name %d", s.Asked, s.Listed)
	if s.Failed > 0 {
		note += fmt.Sprintf("; %d look-ups failed", s.Failed)
	}
	if s.Lost > 0 {
		note += fmt.Sprintf("; %d sources were not asked about, as too many waited", s.Lost)
	}
	return note, true
}
