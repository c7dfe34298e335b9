package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"weir/policy"
	"weir/userspace/audit"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/dnsbl"
	"weir/userspace/dovecotpolicy"
	"weir/userspace/enforce"
	"weir/userspace/intake"
	"weir/userspace/intake/detect"
	"weir/userspace/lists"
	"weir/userspace/maillog"
	"weir/userspace/notify"
	"weir/userspace/postfixpolicy"
	"weir/userspace/protect"
	"weir/userspace/store"
)

// Options are what an agent needs from outside.
type Options struct {
	ConfigPath string
	Version    string           // of the program, told by status
	Logger     *slog.Logger     //
	Now        func() time.Time // the wall clock, by which decisions end
	Reload     <-chan os.Signal // each one has the configuration read again; nil: never
	Confirm    time.Duration    // within which mode enforce must be confirmed, or it ends; 0: it need not be

	fromStart bool                   // read logs that were never read from their start
	host      func() detect.Host     // that is looked over for logs
	decided   func(*policy.Decision) // told of everything the engine decides
}

// DefaultOptions read the default configuration by the system's clock.
func DefaultOptions() Options {
	return Options{ConfigPath: config.DefaultPath, Logger: slog.Default(), Now: time.Now, host: detect.ThisHost}
}

// Validate reports what is missing in o.
func (o *Options) Validate() error {
	switch {
	case o.ConfigPath == "":
		return errors.New("agent: no configuration file is named")
	case o.Confirm < 0:
		return fmt.Errorf("agent: Confirm is %v, want 0 or more", o.Confirm)
	case o.Logger == nil || o.Now == nil:
		return errors.New("agent: Logger and Now must be set")
	}
	return nil
}

// Agent is a running agent.
type Agent struct {
	o        Options
	log      *slog.Logger
	audit    *slog.Logger // of what people change
	faults   *faults
	notifier *notifier
	rates    *rates
	core     *core
	writer   *writer
	judge    *postfixpolicy.Judge
	asked    *policyServers
	server   *control.Server
	served   bool
	started  time.Time
	entered  *entering // by the store; until the core has it
	loading  *loading  // while the agent starts in mode enforce
	cleanups []cleanup

	holdChanged chan chan struct{} // Run's goroutine is to reconsider

	mu     sync.Mutex
	hold   hold
	config *config.Config // what of the configuration is in force
	kernel *kernel        // nil in mode observe
	inputs []*follower
	found  *detect.Found // nil: the configuration names all that is read

	finding sync.Mutex // guards what finds who is protected
	finder  protect.Finder
	unfound string // why not everybody was found

	ears     *ears
	suspects *suspects
	services []*service // of Run's goroutine
	listed   []policy.Decision
	followed []*lists.Follower // under mu
	dovecot  atomic.Pointer[dovecotpolicy.Server]
	lookup   atomic.Pointer[dnsbl.Lookup]
	notices  atomic.Pointer[notify.Notifier]
}

// cleanup undoes one step of starting.
type cleanup struct {
	name string
	do   func() error
}

// Run runs the agent until ctx ends, and then stops it: everything that was
// decided is stored, and stays in force in the kernel.
//
// It fails at once on a configuration with errors, a store that another agent
// has open, a control socket that is taken, or, in mode enforce, a kernel
// that cannot do it; what an earlier run had put in force stays so then. It
// does not fail for inputs and interfaces that are not there yet, nor for a
// disk that fills up.
func Run(ctx context.Context, o Options) error {
	debug.SetGCPercent(startGCPercent)
	a, err := start(o)
	if err == nil {
		a.audit.Info("started", "version", o.Version, "mode", a.current().Mode, "config", o.ConfigPath)
		a.notifier.ready()
	}
	debug.SetGCPercent(gcPercent) // what it then finds to do is in nobody's way who waits
	if err != nil {
		return err
	}
	a.serve(ctx)
	a.notifier.stopping()
	a.audit.Info("stopped", "mode", a.current().Mode)
	a.log.Info("weir stops", "mode", a.current().Mode, "in_force_in_the_kernel", a.engaged() != nil)
	return a.stop()
}

// serve waits for the end, reloads when asked to, and looks for new servers.
func (a *Agent) serve(ctx context.Context) {
	look, hold := time.NewTicker(lookEvery), time.NewTicker(holdEvery)
	defer look.Stop()
	defer hold.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			a.lookAgain()
			a.bring(a.current())
		case <-hold.C:
			a.lookAtHold()
		case done := <-a.holdChanged:
			a.reconsider()
			close(done)
		case <-a.o.Reload:
			a.notifier.reloading()
			a.reload()
			a.notifier.ready()
		}
	}
}

// GOGC (runtime) while the agent starts, when nothing is collected, as nearly all that
// is made stays; while it starts from a damaged store, which makes garbage; and
// afterwards: nearly all memory is in tables of a fixed size without pointers, which
// cost the collector nothing, and what it may let lie before it works is memory that
// the host does without.
const (
	startGCPercent   = -1
	salvageGCPercent = 400
	gcPercent        = 25
)

// start brings up everything and returns when it works.
func start(o Options) (_ *Agent, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{o: o, faults: &faults{}, rates: &rates{}, started: o.Now(), ears: newEars(), suspects: newSuspects(), holdChanged: make(chan chan struct{}), finder: protect.Finder{Sessions: protect.DefaultSessions}}
	a.log = slog.New(faultHandler{Handler: o.Logger.Handler(), faults: a.faults})
	a.o.Now = newSteady(o.Now, a.log).now
	a.notifier = newNotifier(a.log)
	c, err := config.Load(o.ConfigPath)
	if err != nil {
		return nil, err
	}
	a.config = c
	defer func() {
		if err != nil {
			err = errors.Join(err, a.stop())
		}
	}()
	for _, step := range []func() error{a.startLoading, a.startStore, a.startControl, a.startCore, a.startHearing, a.startServices, a.startKernel, a.startPolicy} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	a.cleanups = append(a.cleanups, cleanup{"inputs", func() error { a.leaveAll(); return nil }})
	a.readAll(a.config)
	a.serveControl()
	a.warn(a.config)
	a.log.Info("weir runs", "version", o.Version, "mode", a.config.Mode, "config", o.ConfigPath)
	return a, nil
}

// stop undoes what start did, last things first.
func (a *Agent) stop() error {
	var errs []error
	for i := len(a.cleanups) - 1; i >= 0; i-- {
		if err := a.cleanups[i].do(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", a.cleanups[i].name, err))
		}
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

func (a *Agent) storePath() string { return filepath.Join(a.current().StateDir, "weir.db") }

func (a *Agent) startStore() error {
	if err := os.MkdirAll(a.config.StateDir, 0o700); err != nil {
		return fmt.Errorf("state_dir: %w: make the folder, or let the agent's user write there", err)
	}
	a.audit = audit.New(filepath.Join(a.config.StateDir, audit.FileName), func(err error) {
		a.log.Error("who changed what is in this log only", "error", err)
	})
	path := a.storePath()
	a.entered = newEntering(a.o.Now())
	s, err := store.Open(path, a.log, a.entered)
	a.entered.end()
	if err != nil {
		return err
	}
	a.config = a.held(a.config) // nobody else is in this folder any more
	open := func() (*store.Store, error) { return store.Open(path, a.log, nil) }
	redo := func(ctx context.Context, salvaged *store.Store) { // fails only when the agent stops
		_ = a.core.do(ctx, func() { a.core.redo(salvaged) })
	}
	a.writer = newWriter(s, open, redo, a.o.Now, a.log)
	ctx, stop := context.WithCancel(context.Background())
	go a.writer.run(ctx)
	a.cleanups = append(a.cleanups, cleanup{"store", func() error {
		stop()
		err := a.writer.close()
		_, unwritten := a.writer.state()
		return errors.Join(unwritten, err)
	}})
	return nil
}

// startControl takes the socket early, so that a second agent is noticed; it
// is served when everything else works.
func (a *Agent) startControl() (err error) {
	o := control.DefaultOptions()
	o.Socket, o.Version, o.Now, o.Logger, o.Audit = a.config.ControlSocket, a.o.Version, a.o.Now, a.log, a.audit
	if a.server, err = control.Listen(a, o); err != nil {
		return err
	}
	a.cleanups = append(a.cleanups, cleanup{"control", func() error {
		if a.served {
			return nil // Serve has taken it away
		}
		return a.server.Close()
	}})
	return nil
}

func (a *Agent) serveControl() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.server.Serve(ctx) }()
	a.served = true
	a.cleanups = append(a.cleanups, cleanup{"clients", func() error { cancel(); return <-done }})
}

// startCore restores what the store holds and starts the core.
func (a *Agent) startCore() error {
	p, err := newPipeline(a.config, maillog.Options{Location: time.Local, Reference: a.o.Now()})
	if err != nil {
		return err
	}
	p.recent, p.latest = newRecent(recentBytes), a.o.Now
	a.core = &core{
		pipeline: p, a: a, positions: make(map[string]intake.Position), inputs: make(map[string]*understanding),
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), stopped: make(chan struct{}), saved: a.o.Now(), pause: checkpointEvery,
	}
	a.core.turn <- struct{}{}
	a.judge = postfixpolicy.NewJudge(a.config.Limits, a.o.Now)
	a.setPolicy(a.config)
	a.core.expect(a.config)
	a.core.locate(a.config)
	if err := a.restore(); err != nil {
		return err
	}
	a.standAgain()
	ctx, stop := context.WithCancel(context.Background())
	go a.core.run(ctx)
	a.cleanups = append(a.cleanups, cleanup{"core", func() error {
		err := a.core.do(context.Background(), func() {
			a.core.checkpoint()
			a.core.finish()
		})
		stop()
		<-a.core.stopped
		return err
	}})
	return nil
}

// restore takes over the decisions and pins that the store held, and brings
// back the checkpoint. The store is touched by nobody else yet.
func (a *Agent) restore() error {
	c, entered := a.core, a.entered
	a.entered = nil
	c.ledger = entered.ledger
	c.protected, _ = a.findProtected(a.config)
	c.ledger.SetAllow(a.config.Allow, c.protected...)
	a.writer.remove(entered.ended...)
	if err := a.resume(a.writer.store); err != nil {
		return err
	}
	a.log.Info("restored", "decisions", entered.total-len(entered.ended), "ended_meanwhile", len(entered.ended), "inputs", len(c.positions))
	return nil
}

// startKernel enforces, or, in mode observe, makes sure that nothing does.
func (a *Agent) startKernel() error {
	a.cleanups = append(a.cleanups, cleanup{"kernel", func() error { return a.disengage(false) }})
	if a.config.Mode != config.Enforce {
		a.say(a.endLoading()) // which holds the lock
		removeLeftovers(a.config, a.log)
		a.completed() // nothing is left to recover from
		return nil
	}
	return a.engage(a.config, true)
}

// engage brings the kernel in line with the ledger, and then attaches to the
// interfaces: no packet gets through in between that an earlier run would
// have dropped.
//
// Where the agent starts, what the kernel holds and the store lacks is looked at,
// first if the store was damaged. A whole one lacks at most what was not written in
// time.
func (a *Agent) engage(c *config.Config, starts bool) error {
	h := a.holds()
	k, err := openKernel(a.program(c), c, h.deadline(), a.log)
	if err != nil {
		return err
	}
	damaged := starts && a.writer.current().Incomplete()
	if damaged {
		if err := a.recover(k); err != nil {
			return errors.Join(err, k.close(false))
		}
	}
	var report enforce.Report
	doErr := a.core.do(context.Background(), func() {
		if starts && !damaged {
			report, err = a.core.takeOver(k.enforcer)
		} else {
			report, err = k.enforcer.Reconcile(a.core.inForce())
		}
		a.core.enforcer = k.enforcer
		a.core.reconcile = a.o.Now().Add(auditEvery)
		if err != nil {
			a.core.enforceFailed(a.core.remedied(err))
		}
	})
	if doErr != nil {
		return errors.Join(doErr, k.close(false))
	}
	a.log.Info("the kernel's table holds what stands", "kept", report.Kept, "put", report.Put, "deleted", report.Deleted)
	a.mu.Lock()
	a.kernel = k
	a.mu.Unlock()
	return k.attach(c.Interfaces)
}

// disengage lets go of the kernel, where enforcement goes on; with remove it
// ends.
func (a *Agent) disengage(remove bool) error {
	a.mu.Lock()
	k := a.kernel
	a.kernel = nil
	a.mu.Unlock()
	if k == nil {
		return nil
	}
	err := a.core.do(context.Background(), func() { a.core.enforcer, a.core.unstored = nil, unstored{} })
	return errors.Join(err, k.close(remove))
}
