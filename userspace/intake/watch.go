package intake

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// safetyInterval is between looks at a file whose changes inotify tells
	// of: it finds what inotify(7) does not, such as writes to a file that was
	// moved to another folder.
	safetyInterval = time.Second
	// deafAfter is how many looks in a row must find what inotify did not
	// tell of before it is held to be of no use here, as on a network file
	// system that others write to.
	deafAfter = 3
)

// watcher waits for something to happen to a file. It watches the folder, not
// the file, because files come and go.
type watcher struct {
	path   string
	stem   string // what the names of the log and its rotated files begin with
	poll   time.Duration
	m      *meter
	notify *fsnotify.Watcher // nil: polling only
	events <-chan fsnotify.Event
	errors <-chan error
	tick   *time.Ticker
	every  time.Duration // of tick
	ticked bool          // the last wait was ended by tick
	deaf   int           // ticks in a row that found what no event told of
}

func newWatcher(o FileOptions, m *meter) *watcher {
	base := filepath.Base(o.Path)
	w := &watcher{
		path: o.Path, stem: strings.TrimSuffix(base, filepath.Ext(base)),
		poll: o.Interval, every: o.Interval, m: m, tick: time.NewTicker(o.Interval),
	}
	if o.Polling {
		return w
	}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		m.log.Warn("inotify cannot be used, polling instead; raising fs.inotify.max_user_instances may help",
			"interval", o.Interval, "error", err)
		return w
	}
	w.notify, w.events, w.errors = n, n.Events, n.Errors
	w.watch()
	return w
}

func (w *watcher) close() {
	w.tick.Stop()
	if w.notify != nil {
		w.notify.Close()
	}
}

// watch sees to it that the folder of the file is watched, and that of the
// file it links to, and sets the pace of looks besides. It is called again and
// again because folders appear late and are replaced.
func (w *watcher) watch() {
	ok := w.notify != nil
	if ok {
		dirs := []string{filepath.Dir(w.path)}
		if real, err := filepath.EvalSymlinks(w.path); err == nil && filepath.Dir(real) != dirs[0] {
			dirs = append(dirs, filepath.Dir(real))
		}
		watched := w.notify.WatchList()
		for _, dir := range dirs {
			if slices.Contains(watched, dir) {
				continue
			}
			if err := w.notify.Add(dir); err != nil {
				ok = false
				w.m.log.Debug("folder cannot be watched", "folder", dir, "error", err)
			}
		}
	}
	every := safetyInterval
	if !ok || w.deaf >= deafAfter {
		every = w.poll
	}
	if every != w.every {
		w.every = every
		w.tick.Reset(every)
	}
}

// wait returns when the file may have changed, or ctx has ended. progress says
// whether the look that followed the last wait found anything.
func (w *watcher) wait(ctx context.Context, progress bool) {
	if w.ticked {
		if progress && w.notify != nil {
			w.deaf++
			if w.deaf == deafAfter {
				w.m.log.Warn("inotify does not tell of changes here, polling as well", "path", w.path, "interval", w.poll)
			}
		}
		w.watch()
	}
	w.ticked = false
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.tick.C:
			w.ticked = true
			return
		case err := <-w.errors:
			w.m.log.Debug("inotify lost events; looking at the file itself", "error", err)
			return
		case e := <-w.events:
			if strings.HasPrefix(filepath.Base(e.Name), w.stem) {
				w.deaf = 0
				return
			}
		}
	}
}
