package agent

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"weir/userspace/config"
)

// reload reads the configuration again and makes it take effect. One with
// errors changes nothing. Counts, decisions and positions stay.
func (a *Agent) reload() {
	old := a.current()
	c, err := config.Load(a.o.ConfigPath)
	if err != nil {
		a.refuse(err)
		return
	}
	for _, fixed := range []struct {
		key     string
		changed bool
		keep    func()
	}{
		{"state_dir", c.StateDir != old.StateDir, func() { c.StateDir = old.StateDir }},
		{"control_socket", c.ControlSocket != old.ControlSocket, func() { c.ControlSocket = old.ControlSocket }},
		{"bpffs", c.BPFFS != old.BPFFS, func() { c.BPFFS = old.BPFFS }},
		{"limits.entries", c.Entries != old.Entries, func() { c.Entries = old.Entries }},
		{"limits", c.Limits != old.Limits, func() { c.Limits = old.Limits }},
	} {
		if fixed.changed {
			a.log.Warn("this change takes effect when the agent is restarted", "key", fixed.key)
			fixed.keep()
		}
	}
	protected, complete := a.findProtected(c)
	if err := a.core.do(context.Background(), func() {
		if complete { // else those who are protected stay so
			a.core.protected = protected
		}
		err = a.core.reconfigure(c)
	}); err != nil {
		return // the agent is stopping
	}
	if err != nil {
		a.log.Error("the new rules cannot be used; the configuration in force stays", "error", err)
		return
	}
	c = a.held(c)
	a.reloadKernel(old, c)
	a.setPolicy(c)
	a.listen(c)
	a.readAll(c)
	a.bring(c)
	a.mu.Lock()
	a.config = c
	a.mu.Unlock()
	a.warn(c)
	a.log.Info("configuration reloaded", "config", a.o.ConfigPath, "mode", c.Mode)
	a.audit.Info("configuration reloaded", "config", a.o.ConfigPath, "mode", c.Mode, "keys", c.Changed(old))
}

// refuse says what is wrong with a configuration, one record a problem.
func (a *Agent) refuse(err error) {
	const refused = "the configuration has an error; the one in force stays"
	var problems config.Errors
	if !errors.As(err, &problems) {
		a.log.Error(refused, "error", err)
		return
	}
	for _, p := range problems {
		a.log.Error(refused, "error", p)
	}
}

// warn says what a configuration allows and is likely to hurt.
func (a *Agent) warn(c *config.Config) {
	for _, w := range c.Warnings {
		a.log.Warn("the configuration is in force, but", "warning", w)
	}
}

// current returns the configuration in force.
func (a *Agent) current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config
}

// reconfigure changes what decides. The checkpoint that follows makes sure
// that records before the change are never judged again by what came after.
func (c *core) reconfigure(to *config.Config) error {
	if err := c.engine.SetRules(to.Rules); err != nil {
		return err
	}
	_ = c.enforce(c.ledger.SetAllow(to.Allow, c.protected...)) // said and tried again there
	c.expect(to)
	c.locate(to)
	c.checkpoint()
	return nil
}

// reloadKernel makes changes of mode, ports and interfaces take effect. What
// fails is said, and c says what is in force instead.
func (a *Agent) reloadKernel(old, c *config.Config) {
	switch {
	case old.Mode == config.Observe && c.Mode == config.Observe:
	case old.Mode == config.Observe:
		if err := a.engage(c, false); err != nil {
			a.log.Error(`the mode stays "observe"`, "error", err)
			c.Mode = config.Observe
			a.say(a.disengage(true))
		}
	case c.Mode == config.Observe:
		a.say(a.disengage(true))
	default:
		a.mu.Lock()
		k := a.kernel
		a.mu.Unlock()
		if !slices.Equal(old.Ports, c.Ports) {
			a.say(k.datapath.SetPorts(c.Ports))
			k.enforcer.SetPorts(c.Ports)
		}
		if ceiling := ceilingOf(c); !reflect.DeepEqual(ceilingOf(old), ceiling) {
			a.say(k.datapath.SetCeiling(ceiling))
		}
		a.say(a.endAt(k))
		if !slices.Equal(old.Interfaces, c.Interfaces) {
			a.say(k.attach(c.Interfaces))
		}
	}
}

func (a *Agent) say(err error) {
	if err != nil {
		a.log.Error("the kernel does not do what was configured", "error", err)
	}
}
