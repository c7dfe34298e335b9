package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/userspace/config"
	"weir/userspace/intake"
	"weir/userspace/intake/detect"
)

// lookEvery is how often a host is looked over for servers that were
// installed meanwhile. It reads some files.
const lookEvery = 10 * time.Minute

// wanted is one input that is to be read.
type wanted struct {
	config.Intake
	why string // found on this host, and why; empty: the configuration names it
}

// same reports whether two configurations give the same input.
func (w wanted) same(o wanted) bool {
	return w.Type == o.Type && w.Path == o.Path && slices.Equal(w.Units, o.Units) &&
		w.Network == o.Network && w.Address == o.Address && slices.Equal(w.From, o.From)
}

// named reports whether two configurations give inputs of one name.
func (w wanted) named(o wanted) bool {
	return w.Type == o.Type && w.Path == o.Path && w.Network == o.Network && w.Address == o.Address
}

// wants lists what c wants read: what it names and, where it says so, what is
// found on this host.
func (a *Agent) wants(c *config.Config) (all []wanted, found *detect.Found) {
	return inputsOf(c, a.o.host())
}

// inputsOf returns what a configuration has read on a host, and what was found
// there; nil if it names all that is read.
func inputsOf(c *config.Config, host detect.Host) (all []wanted, found *detect.Found) {
	for _, in := range c.Intakes {
		all = append(all, wanted{Intake: in})
	}
	if !c.Auto {
		return all, nil
	}
	var given []detect.Given
	for _, in := range c.Intakes {
		given = append(given, detect.Given{Type: in.Type, Path: in.Path, Own: ownSyslog(in)})
	}
	found = detect.Find(host, given)
	for _, in := range found.Inputs {
		all = append(all, wanted{
			Intake: config.Intake{Type: in.Type, Path: in.Path, Units: in.Units},
			why:    fmt.Sprintf("%s: %s", strings.Join(in.Servers, ", "), in.Why),
		})
	}
	return all, found
}

// ownSyslog reports whether a syslog socket is for this host's own messages:
// what others send over a network is another host's.
func ownSyslog(in config.Intake) bool {
	local := func(p netip.Prefix) bool { return p.Addr().IsLoopback() }
	return in.Type == intake.TypeSyslog && (in.Network == intake.NetworkUnix ||
		in.Address.Addr().Unmap().IsLoopback() && !slices.ContainsFunc(in.From, func(p netip.Prefix) bool { return !local(p) }))
}

// readAll brings what is read in line with c, and tells what was found.
func (a *Agent) readAll(c *config.Config) {
	all, found := a.wants(c)
	a.tellFound(found)
	a.follow(all)
	a.mu.Lock()
	a.found = found
	a.mu.Unlock()
	if len(all) == 0 {
		a.log.Warn("nothing is read, so no rule decides: add an [[intake]] to the configuration", "config", a.o.ConfigPath)
	}
}

// lookAgain reads also what servers write that were installed since. What is
// read already stays as it is until the configuration is reloaded.
func (a *Agent) lookAgain() {
	c := a.current()
	if !c.Auto {
		return
	}
	a.mu.Lock()
	before := a.found.Servers()
	a.mu.Unlock()
	_, found := a.wants(c)
	for _, name := range found.Servers() {
		if !slices.Contains(before, name) {
			a.readAll(c)
			return
		}
	}
}

// tellFound logs what was found and why.
func (a *Agent) tellFound(found *detect.Found) {
	if found == nil {
		return
	}
	for _, in := range found.Inputs {
		a.log.Info("found", "type", in.Type, "path", in.Path, "units", in.Units, "servers", in.Servers, "because", in.Why)
	}
	for _, n := range found.Notes {
		a.log.Info("found", "server", n.Server, "note", n.Text)
	}
}

// notes are what the configuration should not say, and what was found and is
// not an input.
func (a *Agent) notes() (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.config.Warnings {
		out = append(out, w.Error())
	}
	if a.found == nil {
		return out
	}
	return append(out, notesOf(a.found)...)
}

func notesOf(found *detect.Found) (out []string) {
	for _, n := range found.Notes {
		text := n.Text
		if n.Server != "" {
			text = n.Server + ": " + text
		}
		out = append(out, text)
	}
	return out
}

// forget drops how far an input was read that is not read any more: should it
// be found again one day, what it holds by then was read elsewhere.
func (a *Agent) forget(name string) {
	_ = a.core.do(context.Background(), func() { delete(a.core.positions, name) }) // fails only when the agent stops
}
