package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// JournalOptions say which entries of the systemd journal to read.
type JournalOptions struct {
	Command   string       // journalctl, by name or path
	Directory string       // read the journal files in this folder, not the host's
	Units     []string     // only these units, "*" allowed; none: all
	Matches   []string     // only entries with these fields, as in journalctl(1): FIELD=VALUE, "+"
	FromStart bool         // never read before: start with the oldest entry, not with the next
	MaxLine   int          // bytes; see DefaultMaxLine
	Logger    *slog.Logger // nil: silent
}

// DefaultJournalOptions read the whole journal of the host.
func DefaultJournalOptions() JournalOptions {
	return JournalOptions{Command: "journalctl", MaxLine: DefaultMaxLine}
}

// Validate says what is wrong with the options and how to put it right.
func (o JournalOptions) Validate() error {
	var errs []error
	if o.Command == "" {
		errs = append(errs, errors.New("journal command: is empty; journalctl is usual"))
	}
	if o.Directory != "" && !filepath.IsAbs(o.Directory) {
		errs = append(errs, fmt.Errorf("journal directory %q: is not an absolute path; write it from the root, as in /var/log/journal", o.Directory))
	}
	for _, u := range o.Units {
		if u == "" || strings.HasPrefix(u, "-") {
			errs = append(errs, fmt.Errorf("journal unit %q: is not a unit name such as postfix@-.service", u))
		}
	}
	for _, m := range o.Matches {
		if m != "+" && (!strings.Contains(m, "=") || strings.HasPrefix(m, "-")) {
			errs = append(errs, fmt.Errorf("journal match %q: is not FIELD=VALUE", m))
		}
	}
	if o.MaxLine < 1024 {
		errs = append(errs, fmt.Errorf("longest message %d: must be at least 1024 bytes", o.MaxLine))
	}
	return errors.Join(errs...)
}

// Journal reads the systemd journal through journalctl(1).
type Journal struct {
	o JournalOptions
	m *meter
}

// NewJournal makes the input; it starts nothing yet.
func NewJournal(o JournalOptions) (*Journal, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	j := &Journal{o: o}
	j.m = newMeter(j.Name(), TypeJournal, o.Logger)
	return j, nil
}

// Name is "journal", with the directory after a colon if one is set.
func (j *Journal) Name() string {
	if j.o.Directory == "" {
		return TypeJournal
	}
	return TypeJournal + ":" + filepath.Clean(j.o.Directory)
}

// Stats may be called at any time.
func (j *Journal) Stats() Stats { return j.m.stats() }

// Run follows the journal; see [Input]. It returns an error wrapping
// [ErrNoJournalctl] where there is no journalctl.
func (j *Journal) Run(ctx context.Context, from Position, sink Sink) error {
	defer j.m.state(StateStopped)
	command, err := exec.LookPath(j.o.Command)
	if err != nil {
		return fmt.Errorf("%s: %w: install systemd, or read the log files with type = \"file\"", j.o.Command, ErrNoJournalctl)
	}
	r := newJournalReader(j.o, j.m, from, sink)
	if from == (Position{}) {
		// Told at once, lest a restart before the first entry skip any.
		r.last.Time = time.Now()
		if err := sink(nil, r.last); err != nil {
			return err
		}
	}
	pause := minPause
	for {
		entries := r.lines
		err := r.follow(ctx, command)
		if ctx.Err() != nil {
			return nil
		}
		if err, ok := errors.AsType[sinkError](err); ok {
			return err.error
		}
		if r.lines != entries {
			pause = minPause
		}
		j.m.state(StateRestarting)
		j.m.trouble(fmt.Errorf("%s ended: %w; starting it again in %v", j.o.Command, err, pause))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// Pauses before journalctl is started again, doubled each time that it gave
// nothing.
const (
	minPause = 250 * time.Millisecond
	maxPause = 30 * time.Second
)
