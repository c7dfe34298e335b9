package agent

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/postfixpolicy"
)

// policyServers are the servers that answer mail servers' policy requests,
// one an address. Only start, reload and stop touch them, one after the other;
// status looks at them under the agent's lock.
type policyServers struct {
	running []*policyServer
}

type policyServer struct {
	address string
	server  *postfixpolicy.Server
	err     error // why it does not run
}

// startPolicy listens for policy requests. One that cannot listen is said and
// shown, and no reason not to start: Postfix goes on without it.
func (a *Agent) startPolicy() error {
	a.asked = &policyServers{}
	a.cleanups = append(a.cleanups, cleanup{"policy server", func() error {
		var errs []error
		for _, p := range a.asked.running {
			errs = append(errs, p.close())
		}
		return errors.Join(errs...)
	}})
	a.listen(a.config)
	return nil
}

func (p *policyServer) close() error {
	if p.server == nil {
		return nil
	}
	return p.server.Close()
}

// listen brings the servers in line with the configuration. Those that go on
// keep their connections, unless who may ask has changed.
func (a *Agent) listen(c *config.Config) {
	users := c.PostfixPolicy.Users
	same := slices.Equal(users, a.current().PostfixPolicy.Users)
	var kept []*policyServer
	for _, p := range a.asked.running {
		if same && p.err == nil && slices.Contains(c.PostfixPolicy.Listen, p.address) {
			kept = append(kept, p)
			continue
		}
		if err := p.close(); err != nil {
			a.log.Warn("policy requests", "address", p.address, "error", err)
		}
	}
	for _, address := range c.PostfixPolicy.Listen {
		if slices.ContainsFunc(kept, func(p *policyServer) bool { return p.address == address }) {
			continue
		}
		o := postfixpolicy.DefaultOptions()
		o.Address, o.Users, o.Logger = address, users, a.log
		p := &policyServer{address: address}
		if p.server, p.err = postfixpolicy.Listen(o, a.judge); p.err != nil {
			a.log.Error("policy requests are not answered there; mail passes as default_action says", "error", p.err)
		} else {
			a.log.Info("policy requests are answered", "address", address)
		}
		kept = append(kept, p)
	}
	a.mu.Lock()
	a.asked.running = kept
	a.mu.Unlock()
}

// setPolicy tells the judge what the configuration says.
func (a *Agent) setPolicy(c *config.Config) {
	allow := new(bart.Lite)
	for _, p := range c.Allow {
		allow.Insert(p)
	}
	p := &c.PostfixPolicy
	s := postfixpolicy.Settings{
		Enforce: c.Mode == config.Enforce, Pause: p.Pause, Harvest: p.UnknownRecipients, Location: time.Local,
		Allowed: func(addr netip.Addr) bool { return allow.Contains(addr.Unmap()) },
	}
	for text, into := range map[string]*postfixpolicy.Reply{p.OverQuota: &s.Over, p.Guarded: &s.Guarded} {
		if err := into.UnmarshalText([]byte(text)); err != nil {
			a.log.Error("policy requests", "error", err) // config knows the same words
		}
	}
	a.judge.Set(s, c.Quota)
}

// expect prepares for requests and reports, if there will be any. It must run
// in a turn of the core, or before there is one.
func (c *core) expect(to *config.Config) {
	if len(to.DovecotPolicy.Listen) > 0 && c.told == nil {
		c.told = newTellings()
	}
	if len(to.PostfixPolicy.Listen) > 0 {
		c.parser.ExpectRequests(to.PostfixPolicy.UnknownRecipients)
	}
}

// standAgain tells the judge what a restart brought back. Nothing runs yet.
func (a *Agent) standAgain() {
	a.judge.Flow(func(f *policy.Flow) {
		for d := range a.core.ledger.OnUsers() {
			standing, own := a.core.onUser(d.Target)
			f.Quotas.SetOwn(d.User, own)
			if standing != nil {
				f.StandAgain(d.User, standing)
			}
		}
	})
}

// stand tells the judge what stands on a user now. It must run in the core
// loop.
func (c *core) stand(t policy.Target) {
	if t.User == "" {
		return
	}
	standing, own := c.onUser(t)
	c.a.judge.Flow(func(f *policy.Flow) {
		f.Quotas.SetOwn(t.User, own)
		f.Stand(t.User, standing)
	})
}

// onUser returns what stands on a user, and the quotas that the operator has
// set for it.
func (c *core) onUser(t policy.Target) (standing *policy.Decision, own *policy.Quota) {
	pin, automatic := c.ledger.Get(t)
	if pin != nil {
		own = pin.Quota
	}
	if standing = policy.Prevailing(pin, automatic); standing != nil && standing.Action == policy.OwnQuota {
		standing = nil
	}
	return standing, own
}

// toldAtOnce is how many of the judge's events are taken before their
// decisions are put in force.
const toldAtOnce = 32

// takeTold takes what the judge has told so far.
func (c *core) takeTold() {
	for n := len(c.a.judge.Told()); n > 0; n = len(c.a.judge.Told()) {
		c.input = &c.requested
		for range min(n, toldAtOnce) {
			next := <-c.a.judge.Told()
			c.judgeAsked(&next)
		}
		_ = c.apply() // said and tried again there
		c.tell()
		c.dirty = true
	}
}

func (c *core) judgeAsked(t *postfixpolicy.Told) {
	switch e := &t.Event; {
	case t.Decision != nil:
		if standing, _ := c.onUser(t.Decision.Target); standing == nil || standing.Rule == policy.QuotaRule {
			c.decision(t.Decision)
		}
		return
	case e.Kind == policy.AuthSuccess:
		if !c.parser.RequestedLogin(e.Time, e.Source, e.User) {
			return
		}
	case e.Kind == policy.UnknownRecipient:
		if !c.parser.RequestedUnknown(e.Time, e.Source) {
			return
		}
	case e.Kind == policy.Message:
		c.parser.RequestedMessage(e.Time, t.ID(), e.Source, e.User)
	}
	c.events = append(c.events[:0], t.Event)
	c.judge(c.events, nil, c)
}

// policyStatus tells how the policy server is.
func (a *Agent) policyStatus() *control.PolicyServer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil || len(a.asked.running) == 0 {
		return nil
	}
	v := a.judge.Verdicts()
	out := &control.PolicyServer{Messages: v.Messages, OverQuota: v.Over, Limited: v.Limited, Deferred: v.Deferred, Strangers: v.Stranger, Lost: v.Lost}
	for _, p := range a.asked.running {
		l := control.PolicyListener{Address: p.address}
		if p.err != nil {
			l.Error = p.err.Error()
		} else {
			s := p.server.Stats()
			l.Open, l.Connections, l.Requests, l.Malformed, l.Oversized, l.Late, l.Refused = s.Open, s.Connections, s.Requests, s.Malformed, s.Oversized, s.Late, s.Refused
		}
		out.Listeners = append(out.Listeners, l)
	}
	return out
}

// asks reports whether mail servers can ask about users' mail.
func (a *Agent) asks() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked != nil && slices.ContainsFunc(a.asked.running, func(p *policyServer) bool { return p.err == nil })
}
