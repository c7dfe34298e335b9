package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/userspace/control"
)

// faults remembers the last warnings and errors of the log, for status.
type faults struct {
	mu   sync.Mutex
	last []control.Fault // oldest first
}

const maxFaults = 20

func (f *faults) add(at time.Time, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.last); n > 0 && f.last[n-1].Text == text {
		f.last[n-1].Time = at
		f.last[n-1].Count = max(f.last[n-1].Count, 1) + 1
		return
	}
	if len(f.last) == maxFaults {
		f.last = slices.Delete(f.last, 0, 1)
	}
	f.last = append(f.last, control.Fault{Time: at, Text: text})
}

// list returns the faults, newest first.
func (f *faults) list() []control.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Clone(f.last)
	slices.Reverse(out)
	return out
}

// faultHandler passes records on and keeps warnings and errors.
type faultHandler struct {
	slog.Handler
	faults *faults
	with   string // attributes given beforehand, as text
}

func (h faultHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		var b strings.Builder
		b.WriteString(r.Message)
		b.WriteString(h.with)
		r.Attrs(func(a slog.Attr) bool {
			b.WriteString(textOf(a))
			return true
		})
		h.faults.add(r.Time, b.String())
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h faultHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.Handler.Enabled(ctx, l)
}

func (h faultHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.with += textOf(a)
	}
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h faultHandler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

func textOf(a slog.Attr) string { return "; " + a.Key + ": " + a.Value.String() }
