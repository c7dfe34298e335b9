package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/loader"
	"weir/userspace/config"
	"weir/userspace/enforce"
)

// kernel is the datapath with what runs beside it. It exists in mode enforce.
type kernel struct {
	datapath *loader.Datapath
	enforcer *enforce.Enforcer
	log      *slog.Logger
	stop     context.CancelFunc // of the enforcer's goroutine
	running  sync.WaitGroup

	follow    context.CancelFunc // of Follow
	following chan struct{}      // Follow has returned
}

func loaderOptions(c *config.Config, now func() time.Time, log *slog.Logger) loader.Options {
	o := loader.DefaultOptions()
	o.Dir = c.BPFFS
	o.Ports = c.Ports
	o.Capacity = c.Entries
	o.Ceiling = ceilingOf(c)
	o.LetThrough = func() bool { return isPanic(c.StateDir) }
	o.Now, o.Logger = now, log
	return o
}

func ceilingOf(c *config.Config) loader.Ceiling {
	return loader.Ceiling{Every: c.Ceiling.Rate.Every, Burst: c.Ceiling.Rate.Burst, Ports: c.CeilingPorts()}
}

// openKernel has a loaded program take effect. Nothing is attached yet, and what an
// earlier run attached goes on with the tables as they are. Nothing will be enforced
// beyond end, unless that is zero.
func openKernel(l *loading, c *config.Config, end time.Time, log *slog.Logger) (*kernel, error) {
	datapath, err := l.open(c)
	if err != nil {
		return nil, fmt.Errorf(`mode "enforce": %w (mode = "observe" decides without touching the kernel)`, err)
	}
	o := enforce.DefaultOptions()
	o.Table, o.Ports, o.End, o.Logger = datapath, c.Ports, end, log
	enforcer, err := enforce.New(o)
	if err != nil {
		return nil, errors.Join(err, datapath.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	k := &kernel{datapath: datapath, enforcer: enforcer, log: log, stop: stop}
	k.running.Go(func() { enforcer.Run(ctx) })
	return k, nil
}

// attach follows the selected interfaces, and returns when those that are
// there carry the program. It replaces an earlier selection.
func (k *kernel) attach(selection []string) error {
	k.detach()
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	k.follow, k.following = cancel, make(chan struct{})
	seen := make(map[string]loader.Attachment)
	go func() {
		defer close(k.following)
		err := k.datapath.Follow(ctx, selection, func(now []loader.Attachment) {
			k.say(seen, now)
			select {
			case first <- nil:
			default:
			}
		})
		select {
		case first <- err:
		default:
			if err != nil {
				k.log.Error("interfaces are not followed any more", "error", err)
			}
		}
	}()
	if err := <-first; err != nil {
		return fmt.Errorf("attach to interfaces: %w", err)
	}
	return nil
}

// say logs what changed among the attachments.
func (k *kernel) say(seen map[string]loader.Attachment, now []loader.Attachment) {
	for _, a := range now {
		if seen[a.Interface] == a {
			continue
		}
		seen[a.Interface] = a
		if a.Mode == loader.ModeNone {
			k.log.Warn("interface is not protected", "interface", a.Interface, "reason", a.Reason)
		} else {
			k.log.Info("interface is protected", "interface", a.Interface, "mode", a.Mode, "reason", a.Reason)
		}
	}
	for name := range seen {
		if !slices.ContainsFunc(now, func(a loader.Attachment) bool { return a.Interface == name }) {
			k.log.Info("interface is no longer selected", "interface", name)
			delete(seen, name)
		}
	}
}

// protection tells whether packets meet the table at all, and if some do not,
// on which interfaces: what the table holds is in force only where the program
// is attached.
func protection(all []loader.Attachment) (somewhere bool, problem string) {
	var without []string
	for _, a := range all {
		switch {
		case a.Mode != loader.ModeNone:
			somewhere = true
		case a.Index != 0: // else it is not there, and no packet comes by it
			without = append(without, a.Interface)
		}
	}
	switch {
	case !somewhere:
		return false, "the program is attached to no interface: weir status tells why"
	case len(without) > 0:
		return true, fmt.Sprintf("not on %s, where the program is not attached: weir status tells why", strings.Join(without, ", "))
	}
	return true, ""
}

// silence says on which interfaces the tarpit cannot answer.
func silence(all []loader.Attachment) string {
	var silent []string
	for _, a := range all {
		if a.Mode != loader.ModeNone && !a.Tarpit {
			silent = append(silent, a.Interface)
		}
	}
	if len(silent) == 0 {
		return ""
	}
	return fmt.Sprintf("dropped and not held on %s, by which no answer can leave: weir status tells why", strings.Join(silent, ", "))
}

// detach stops following; what is attached stays so.
func (k *kernel) detach() {
	if k.follow != nil {
		k.follow()
		<-k.following
		k.follow = nil
	}
}

// close lets go of the kernel; enforcement goes on there. With remove it
// ends.
func (k *kernel) close(remove bool) error {
	k.detach()
	k.stop()
	k.running.Wait()
	var err error
	if remove {
		err = k.datapath.Remove()
	}
	return errors.Join(err, k.datapath.Close())
}

// Detach takes out of the kernel what a run in mode enforce has left there, and
// reports whether there was anything. Where nothing was left, the kernel is not
// touched. While an agent enforces, the error is [loader.ErrInUse].
func Detach(c *config.Config, log *slog.Logger) (found bool, err error) {
	entries, err := os.ReadDir(c.BPFFS)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for what is in the kernel: %w", err)
	}
	datapath, err := loader.Open(loaderOptions(c, time.Now, log))
	if err != nil {
		return true, err
	}
	return true, errors.Join(datapath.Remove(), datapath.Close())
}

// removeLeftovers does so when mode observe begins.
func removeLeftovers(c *config.Config, log *slog.Logger) {
	found, err := Detach(c, log)
	if err != nil && !found {
		log.Info("whether an earlier run left something in the kernel cannot be seen", "error", err)
		return
	}
	if err != nil {
		log.Error(`mode is "observe", but what an earlier run in mode "enforce" left in the kernel could not be removed and is still in force: run this once as root`,
			"folder", c.BPFFS, "error", err)
		return
	}
	if !found {
		return
	}
	log.Info("removed from the kernel what an earlier run had left in force", "folder", c.BPFFS)
}
