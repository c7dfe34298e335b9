package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"weir/loader"
	"weir/userspace/audit"
	"weir/userspace/config"
	"weir/userspace/control"
)

// hold keeps the configured mode "enforce" from taking effect. It is of Run's
// goroutine; status looks at it under the agent's lock.
type hold struct {
	wanted    *config.Config // as it was written
	panic     *control.Panic
	unwritten bool                  // the panic could not be written to its file
	confirm   *control.Confirmation // nil: none is waited for
}

// Files in state_dir. That of a panic may be made by hand; an empty one will do.
const (
	panicFile   = "panic"
	confirmFile = "confirm"
)

// holdEvery is how often files that others may have made are looked for.
const holdEvery = time.Second

// confirmation is what confirmFile says.
type confirmation struct {
	control.Confirmation

	// Confirmed: the word has come. The next start with --confirm does not
	// ask again, unless the mode was "observe" in between.
	Confirmed bool `json:"confirmed,omitempty"`
}

// held returns what of c may take effect now.
func (a *Agent) held(c *config.Config) *config.Config {
	effective := *c
	h := a.holds()
	h.wanted, h.confirm = c, nil
	if !h.unwritten {
		h.panic = a.readPanic(c.StateDir)
	}
	if c.Mode == config.Enforce && a.o.Confirm > 0 {
		h.confirm = a.awaited(c.StateDir)
	} else {
		a.sayUnkept(removeIfThere(filepath.Join(c.StateDir, confirmFile)))
	}
	switch {
	case h.panic != nil:
		a.log.Warn("panic: everything passes; weir panic --lift ends it", "since", h.panic.Since, "by", h.panic.By, "reason", h.panic.Reason)
		effective.Mode = config.Observe
	case h.confirm != nil && h.confirm.Reverted:
		a.log.Warn(`nobody has confirmed that mode "enforce" may stay, so the mode is "observe"; weir confirm --again enforces for another time`)
		effective.Mode = config.Observe
	case h.confirm != nil:
		a.log.Warn("what is enforced ends by itself unless it is confirmed (weir confirm)", "until", h.confirm.Until)
		effective.Ceiling = config.Ceiling{} // in the kernel it has no end
	}
	a.mu.Lock()
	a.hold = h
	a.mu.Unlock()
	return &effective
}

// deadline is when everything that is enforced ends, zero for never.
func (h *hold) deadline() time.Time {
	if h.confirm == nil {
		return time.Time{}
	}
	return h.confirm.Until
}

// readPanic returns nil if there is no panic. A file that cannot be read is
// one: whoever made it wanted it.
func (a *Agent) readPanic(dir string) *control.Panic {
	path := filepath.Join(dir, panicFile)
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	p := &control.Panic{Since: info.ModTime()}
	if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
		if err := json.Unmarshal(data, p); err != nil {
			a.log.Warn("the file of the panic is not one that weir has written; everything passes all the same", "file", path)
		}
	}
	return p
}

// awaited returns what is waited for, and begins the wait if need be.
func (a *Agent) awaited(dir string) *control.Confirmation {
	path, now := filepath.Join(dir, confirmFile), a.o.Now()
	var c confirmation
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	switch {
	case err == nil && c.Confirmed:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		c.Until = now.Add(a.o.Confirm)
		a.sayUnkept(writeHold(path, &c))
	case err != nil: // it is not known for how long it may go on
		a.log.Error("whether enforcement was confirmed cannot be read", "file", path, "error", err)
		c.Until, c.Reverted = now, true
	case !c.Reverted && !now.Before(c.Until):
		c.Reverted = true
		a.sayUnkept(writeHold(path, &c))
	}
	return &c.Confirmation
}

func (a *Agent) sayUnkept(err error) {
	if err != nil {
		a.log.Error("what enforcement waits for could not be kept for a restart", "error", err)
	}
}

// writeHold replaces the file at path by what v says; it is on the disk then.
func writeHold(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()) // the agent's user reads what root has written
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(f.Name()))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isPanic reports whether there is a file that says so now.
func isPanic(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, panicFile))
	return err == nil
}

// lookAtHold makes effective what has changed since: a file was made or
// removed, or the time for a confirmation is over.
func (a *Agent) lookAtHold() {
	h := a.holds()
	late := h.confirm != nil && !h.confirm.Reverted && !a.o.Now().Before(h.confirm.Until)
	panics := h.unwritten || isPanic(h.wanted.StateDir)
	file := filepath.Join(h.wanted.StateDir, panicFile)
	switch {
	case late:
		a.audit.Info("enforcement ends", "reason", "nobody has confirmed it in time")
	case panics && h.panic == nil:
		if p := a.readPanic(h.wanted.StateDir); p != nil && p.By == "" { // else whoever wrote it has said so
			a.audit.Info("panic", "reason", "there is a file", "file", file)
		}
	case !panics && h.panic != nil:
		a.audit.Info("panic lifted", "reason", "the file is gone", "file", file)
	default:
		return
	}
	a.reconsider()
}

// reconsider makes of the configuration take effect what may now.
func (a *Agent) reconsider() {
	old := a.current()
	c := a.held(a.holds().wanted)
	a.reloadKernel(old, c)
	a.setPolicy(c)
	a.mu.Lock()
	a.config = c
	a.mu.Unlock()
	a.log.Info("what is enforced has changed", "mode", c.Mode)
}

// endAt makes what k enforces end when it has to.
func (a *Agent) endAt(k *kernel) error {
	h := a.holds()
	end := h.deadline()
	var err error
	doErr := a.core.do(context.Background(), func() {
		if k.enforcer.End().Equal(end) {
			return
		}
		k.enforcer.SetEnd(end)
		_, err = k.enforcer.Reconcile(a.core.ledger.InForce())
	})
	return errors.Join(doErr, err)
}

func (a *Agent) holds() hold {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hold
}

// reconsidered has Run's goroutine reconsider, and waits for it.
func (a *Agent) reconsidered(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case a.holdChanged <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Panic implements control.Backend. The kernel comes first; then what must
// outlast us.
func (a *Agent) Panic(ctx context.Context, p control.Panic) error {
	var errs []error
	if k := a.engaged(); k != nil {
		errs = append(errs, k.datapath.SetPorts(nil))
	}
	err := writeHold(filepath.Join(a.current().StateDir, panicFile), &p)
	if err != nil {
		err = fmt.Errorf("everything passes, but not beyond a restart: %w", err)
		a.mu.Lock()
		a.hold.panic, a.hold.unwritten = &p, true
		a.mu.Unlock()
	}
	return errors.Join(append(errs, err, a.reconsidered(ctx))...)
}

// Lift implements control.Backend.
func (a *Agent) Lift(ctx context.Context) (*control.Panic, error) {
	h := a.holds()
	if h.panic == nil {
		return nil, control.ErrNotFound
	}
	if err := removeIfThere(filepath.Join(a.current().StateDir, panicFile)); err != nil {
		return nil, fmt.Errorf("the panic goes on: %w", err)
	}
	a.mu.Lock()
	a.hold.unwritten = false
	a.mu.Unlock()
	return h.panic, a.reconsidered(ctx)
}

// Confirm implements control.Backend.
func (a *Agent) Confirm(ctx context.Context, again bool) (*control.Confirmation, error) {
	h := a.holds()
	if h.confirm == nil {
		return nil, control.ErrNotFound
	}
	c := confirmation{Confirmation: *h.confirm}
	switch {
	case again:
		c.Until, c.Reverted = a.o.Now().Add(a.o.Confirm), false
	case h.confirm.Reverted:
		return h.confirm, nil
	default:
		c.Confirmed = true
	}
	if err := writeHold(filepath.Join(a.current().StateDir, confirmFile), &c); err != nil {
		return nil, err
	}
	return &c.Confirmation, a.reconsidered(ctx)
}

// PanicAlone lets everything through where no agent answers: in the kernel, by
// the pins of c, and for the next agent, by a file. One that only hangs follows
// as soon as it can.
func PanicAlone(c *config.Config, p control.Panic) error {
	err := errors.Join(loader.LetThrough(c.BPFFS), writeHold(filepath.Join(c.StateDir, panicFile), &p))
	return errors.Join(err, auditAlone(c, "panic", p, err))
}

// LiftAlone removes that file, as p says. It returns control.ErrNotFound if
// there is none.
func LiftAlone(c *config.Config, p control.Panic) error {
	if !isPanic(c.StateDir) {
		return control.ErrNotFound
	}
	err := os.Remove(filepath.Join(c.StateDir, panicFile))
	return errors.Join(err, auditAlone(c, "panic lifted", p, err))
}

// auditAlone has the audit know what was done without the agent.
func auditAlone(c *config.Config, what string, p control.Panic, err error) (failed error) {
	attrs := []any{"by", p.By, "uid", os.Getuid(), "pid", os.Getpid(), "alone", true, "reason", p.Reason}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	audit.New(filepath.Join(c.StateDir, audit.FileName), func(err error) { failed = err }).Info(what, attrs...)
	return failed
}
