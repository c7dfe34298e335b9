package agent

import (
	"context"
	"reflect"
	"time"

	"weir/userspace/config"
)

// service is a part that runs beside the core as long as the configuration asks
// for it. One that cannot start is logged and tried again later: it must not
// keep the rest from working.
type service struct {
	name string
	// wants returns what the service is made from, nil if it is not wanted.
	wants func(c *config.Config) (any, error)
	start func(c *config.Config) (stop func(), err error)

	runs  any // what it is running by; nil: it is not
	stop  func()
	fault string // why it is not, as it was said
}

// bring starts, stops and restarts services as c asks. Only Run's goroutine
// calls it.
func (a *Agent) bring(c *config.Config) {
	for _, s := range a.services {
		wanted, err := s.wants(c)
		if err == nil && s.stop != nil && reflect.DeepEqual(wanted, s.runs) {
			continue
		}
		if err == nil || s.stop == nil { // else what runs goes on
			a.end(s)
			if err == nil && wanted != nil {
				s.stop, err = s.start(c)
				s.runs = wanted
			}
		}
		switch {
		case err == nil:
			s.fault = ""
		case err.Error() != s.fault:
			s.fault = err.Error()
			a.log.Error(s.name+" does not run as configured; it is tried again", "error", err)
		}
	}
}

func (a *Agent) end(s *service) {
	if s.stop != nil {
		s.stop()
	}
	s.stop, s.runs = nil, nil
}

// background runs f until stop is called, which waits for its end.
func background(f func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}

// every does something at a pace until ctx ends or it fails, which it does when
// the agent stops.
func every(ctx context.Context, pace time.Duration, do func() error) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if do() != nil {
			return
		}
	}
}

// startServices starts what the configuration asks for.
func (a *Agent) startServices() error {
	a.services = []*service{a.protectService(), a.listService(), a.dovecotService(), a.dnsblService(), a.noticeService()}
	a.cleanups = append(a.cleanups, cleanup{"services", func() error {
		for _, s := range a.services {
			a.end(s)
		}
		return nil
	}})
	a.bring(a.config)
	return nil
}
