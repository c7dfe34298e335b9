package agent

import (
	"log/slog"
	"time"

	"weir/loader"
	"weir/userspace/config"
)

// loading is the program on its way into the kernel, where nothing changes by that.
type loading struct {
	done   chan struct{} // what follows is known
	loaded *loader.Loaded
	err    error
}

func beginLoading(c *config.Config, now func() time.Time, log *slog.Logger) *loading {
	l := &loading{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.loaded, l.err = loader.Load(loaderOptions(c, now, log))
	}()
	return l
}

// open waits for the program, and has what it is configured to do take effect.
func (l *loading) open(c *config.Config) (*loader.Datapath, error) {
	if <-l.done; l.err != nil {
		return nil, l.err
	}
	return l.loaded.Open(c.Ports, ceilingOf(c))
}

// close waits for the program, and lets go of it.
func (l *loading) close() error {
	if <-l.done; l.err != nil {
		return nil // nobody wanted it
	}
	return l.loaded.Close()
}

// startLoading has the program loaded beside all that comes before it takes effect.
func (a *Agent) startLoading() error {
	if a.config.Mode == config.Enforce {
		a.loading = beginLoading(a.config, a.o.Now, a.log)
	}
	a.cleanups = append(a.cleanups, cleanup{"loading", a.endLoading})
	return nil
}

// program returns what is being loaded already, or begins it.
func (a *Agent) program(c *config.Config) *loading {
	l := a.loading
	if a.loading = nil; l == nil {
		l = beginLoading(c, a.o.Now, a.log)
	}
	return l
}

// endLoading lets go of a program that nobody wants after all.
func (a *Agent) endLoading() error {
	l := a.loading
	if a.loading = nil; l == nil {
		return nil
	}
	return l.close()
}
