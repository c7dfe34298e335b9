package agent

import (
	"context"
	"slices"
	"time"

	"weir/policy"
	"weir/userspace/config"
)

// protectEvery is how often it is asked who must not be shut out.
const protectEvery = 5 * time.Second

// findProtected returns who must not be shut out now, and whether that is
// everybody. What cannot be found is said, once.
func (a *Agent) findProtected(c *config.Config) (allowed []policy.Allowed, complete bool) {
	a.finding.Lock()
	defer a.finding.Unlock()
	a.finder.Kinds, a.finder.FS = c.Protect, a.o.host().FS
	found, err := a.finder.Find(a.o.Now())
	unfound := ""
	if err != nil {
		unfound = err.Error()
	}
	if unfound != a.unfound && unfound != "" {
		a.log.Warn("not everybody who must not be shut out could be found", "error", err)
	}
	a.unfound = unfound
	allowed = make([]policy.Allowed, len(found))
	for i, one := range found {
		allowed[i] = policy.Allowed{Prefix: policy.JudgedPrefix(one.Prefix), Reason: one.Reason}
	}
	return allowed, err == nil
}

// protectService follows who must not be shut out.
func (a *Agent) protectService() *service {
	return &service{
		name: "protecting the host, its gateways, administrators and proxies",
		wants: func(c *config.Config) (any, error) {
			if len(c.Protect) == 0 {
				return nil, nil
			}
			return c.Protect, nil
		},
		start: func(*config.Config) (stop func(), err error) { return background(a.followProtected), nil },
	}
}

func (a *Agent) followProtected(ctx context.Context) {
	every(ctx, protectEvery, func() error {
		now, complete := a.findProtected(a.current())
		if !complete {
			return nil // those who are protected stay so
		}
		return a.core.do(ctx, func() {
			c := a.core
			if slices.Equal(now, c.protected) {
				return
			}
			for _, one := range now {
				if !slices.Contains(c.protected, one) {
					a.log.Info("protected", "source", one.Prefix, "reason", one.Reason)
				}
			}
			c.protected = now
			_ = c.enforce(c.ledger.SetAllow(a.current().Allow, now...)) // said and tried again there
		})
	})
}
