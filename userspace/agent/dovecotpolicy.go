package agent

import (
	"context"
	"fmt"
	"net/netip"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/dovecotpolicy"
)

// dovecotService answers Dovecot.
func (a *Agent) dovecotService() *service {
	return &service{
		name: "the Dovecot policy server",
		wants: func(c *config.Config) (any, error) {
			if len(c.DovecotPolicy.Listen) == 0 {
				return nil, nil
			}
			key, err := dovecotpolicy.ReadKey(c.DovecotPolicy.APIKeyFile)
			return []any{c.DovecotPolicy, key}, err
		},
		start: a.startDovecot,
	}
}

func (a *Agent) startDovecot(c *config.Config) (stop func(), err error) {
	o := dovecotpolicy.DefaultOptions()
	o.Listen, o.Now, o.Logger = c.DovecotPolicy.Listen, a.o.Now, a.log
	if o.Key, err = dovecotpolicy.ReadKey(c.DovecotPolicy.APIKeyFile); err != nil {
		return nil, err
	}
	server, err := dovecotpolicy.Listen(a, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	a.dovecot.Store(server)
	a.log.Info("Dovecot is answered", "listen", o.Listen)
	return func() {
		a.dovecot.Store(nil)
		cancel()
		if err := <-done; err != nil {
			a.log.Warn("the Dovecot policy server did not end in order", "error", err)
		}
	}, nil
}

// Standing implements dovecotpolicy.Judge. Most logins are answered from the
// ledger; the core is asked about the sources of guarded users, and about
// sources that failed lately. In mode observe nothing is refused and nothing
// delayed.
func (a *Agent) Standing(ctx context.Context, source netip.Addr, user string) (s dovecotpolicy.Standing, err error) {
	if a.current().Mode != config.Enforce {
		return s, nil
	}
	now := a.o.Now()
	judged := policy.SourceOf(source)
	onSource, onUser := a.core.ledger.standing(judged.Prefix(), user, now)
	if onSource != nil {
		switch onSource.Action {
		case policy.Allow:
			return dovecotpolicy.Standing{Trusted: true}, nil
		case policy.Drop, policy.Tarpit:
			return dovecotpolicy.Standing{Refused: true}, nil
		case policy.Limit:
			s.Suspicion = limitSuspicion
		}
	}
	guarded := onUser != nil && onUser.Action == policy.Guard
	if !guarded && s.Suspicion == 0 && !a.suspects.has(judged) {
		return s, nil
	}
	var regard policy.Regard
	if err := a.core.do(ctx, func() { regard = a.core.engine.Regard(source, user, now) }); err != nil {
		return s, err
	}
	s.Trusted = regard.Trusted
	s.Suspicion = max(s.Suspicion, regard.Suspicion)
	if guarded && !regard.Home {
		s.Refused, s.Guarded = true, true
	}
	return s, nil
}

// limitSuspicion is the suspicion of a source that is limited: seven seconds.
const limitSuspicion = 0.75

// Report implements dovecotpolicy.Judge.
func (a *Agent) Report(e *policy.Event, evidence string, counts bool) {
	a.ears.hear(heard{event: *e, text: evidence, counts: counts})
}

// dovecotNote tells how the server fares, for status.
func (a *Agent) dovecotNote() (string, bool) {
	server := a.dovecot.Load()
	if server == nil {
		return "", false
	}
	s := server.Stats()
	note := fmt.Sprintf("Dovecot is answered on %v: %d logins let go on, %d delayed, %d refused; heard of %d successes and %d failures, and %d that are nobody's offence",
		s.Listen, s.Allowed, s.Delayed, s.Refused, s.Successes, s.Failures, s.Excused)
	for _, trouble := range []struct {
		n    uint64
		what string
	}{
		{s.Unanswered, "let go on because the answer took too long"}, {s.Unauthorised, "requests without the right API key"},
		{s.Malformed, "requests that cannot be read"}, {a.ears.lost.Load(), "REPORTS LOST"},
	} {
		if trouble.n > 0 {
			note += fmt.Sprintf("; %d %s", trouble.n, trouble.what)
		}
	}
	return note, true
}
