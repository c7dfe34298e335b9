// Package lab is a stage on one machine for weir: a network namespace "mail"
// with a real Postfix and Dovecot (and weir, when a test starts it), and a
// namespace "world" with everybody else, joined by one veth pair.
//
// All that happens stays inside these two namespaces and one directory, uses
// documentation addresses only (RFC 5737, RFC 3849), and is taken down by
// Close: only processes that the lab started are ended, by process id. What
// a killed lab left behind, the next New clears away.
//
// It knows weir from outside only: a binary, a configuration file, commands.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Host and Domain name the mail server and the addresses it delivers for.
const (
	Host   = "mail.example.test"
	Domain = "example.test"
	// Elsewhere is a domain that Postfix sends to by throwing the message
	// away: the outside world that a stolen account is used to reach.
	Elsewhere = "elsewhere.test"
)

// Password is every mailbox's password.
const Password = "correct horse battery staple"

// ErrUnavailable is in the chain of the error of Check when the machine
// lacks something that the lab needs.
var ErrUnavailable = errors.New("the lab cannot run here")

// Check reports what the machine lacks for a lab, and how to get it.
func Check() error {
	if err := checkRoot(); err != nil {
		return err
	}
	for _, program := range []string{"postfix", "postlog", "dovecot", "doveadm"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %s is missing; run tests/setup.sh demo", ErrUnavailable, program)
		}
	}
	return nil
}

func checkRoot() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it makes network namespaces; run as root", ErrUnavailable)
	}
	return nil
}

// Options of a lab.
type Options struct {
	Users []string // mailboxes, without @Domain
	Bare  bool     // the network and a log alone, without mail servers

	Dovecot   string              // more of Dovecot's configuration; the word DIR in it stands for the lab's folder
	MainCF    func(l *Lab) string // gives what is added to main.cf; may be nil
	Chroot    bool                // smtpd runs below the queue directory, as Debian has it
	Processes int                 // smtpd processes at most (default_process_limit); 0: Postfix's default
}

// mainCF is what is added to main.cf.
func (o *Options) mainCF(l *Lab) (more string) {
	if o.Processes > 0 {
		more = fmt.Sprintf("default_process_limit = %d\n", o.Processes)
	}
	if o.MainCF != nil {
		more += o.MainCF(l)
	}
	return more
}

// Validate reports what is wrong with o.
func (o Options) Validate() error {
	if len(o.Users) == 0 && !o.Bare {
		return errors.New("a lab needs at least one user")
	}
	return nil
}

// Lab is a running stage. Its methods may be called concurrently.
type Lab struct {
	Dir   string     // everything on disk; gone after Close
	Mail  *Namespace // the mail host
	World *Namespace // everybody else

	options Options
	close   sync.Once
	undo    []undo // run last in, first out
	mu      sync.Mutex
}

type undo struct {
	what string
	run  func() error
}

// New clears what killed labs left, makes the namespaces, and starts Postfix
// and Dovecot. It returns when both answer.
func New(ctx context.Context, options Options) (_ *Lab, err error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	check := Check
	if options.Bare {
		check = checkRoot
	}
	if err := check(); err != nil {
		return nil, err
	}
	if err := Sweep(); err != nil {
		return nil, fmt.Errorf("clear what an earlier lab left: %w", err)
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("weir-%d-", os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make lab directory: %w", err)
	}
	l := &Lab{Dir: dir, options: options}
	l.defer_("remove "+dir, func() error { return os.RemoveAll(dir) })
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// Postfix and Dovecot run under their own users and must get in.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open lab directory: %w", err)
	}
	steps := []func(context.Context) error{l.makeNetwork, l.mountBPF, l.makeCertificate, l.startServers}
	if options.Bare {
		steps = []func(context.Context) error{l.makeNetwork, l.mountBPF, l.makeLog}
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Close ends everything the lab started and removes everything it made. It
// may be called more than once.
func (l *Lab) Close() error {
	var errs []error
	l.close.Do(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := len(l.undo) - 1; i >= 0; i-- {
			if err := l.undo[i].run(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", l.undo[i].what, err))
			}
		}
	})
	return errors.Join(errs...)
}

// defer_ remembers what Close has to undo.
func (l *Lab) defer_(what string, run func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, undo{what, run})
}

// Path joins elem to the lab's directory.
func (l *Lab) Path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

// mountBPF gives the lab a bpffs of its own, so that pins neither meet those
// of a real weir nor outlive the lab.
func (l *Lab) mountBPF(context.Context) error {
	dir := l.Path("bpf")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make bpffs mount point: %w", err)
	}
	if err := unix.Mount("weir-lab", dir, "bpf", 0, ""); err != nil {
		return fmt.Errorf("mount bpffs on %s: %w", dir, err)
	}
	l.defer_("unmount "+dir, func() error { return unix.Unmount(dir, unix.MNT_DETACH) })
	return nil
}

// Poll calls ready every few milliseconds until it reports true, the context
// ends, or limit has passed; then it returns an error that names what it
// waited for.
func Poll(ctx context.Context, limit time.Duration, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s (%s): %w", what, limit, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
