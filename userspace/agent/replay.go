package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/intake"
	"weir/userspace/maillog"
)

// Forms of a replay's decisions, as ReplayOptions.Output names them.
const (
	OutputText  = "text"
	OutputJSONL = "jsonl"
	OutputNone  = "none"
)

// ReplayOptions say what to read and what to write.
type ReplayOptions struct {
	ConfigPath string    // its rules and allow list; empty: the built-in rules, nothing allowed
	Compare    [2]string // instead: two configurations whose decisions are compared
	Logs       []string  // read one after the other, as given; "-" is Stdin; may be gzip
	Stdin      io.Reader // for "-"
	Output     string    // of decisions: text, jsonl or none
	Events     bool      // write events as well, as JSON lines, each before the decisions it caused

	// Progress is called now and then with the bytes read so far and in
	// all, 0 where that cannot be known. Nil: not at all.
	Progress func(read, total int64)

	decided func(*policy.Decision) // told of everything the engine decides
}

// Replay reads old logs and writes what would have been decided, by the time
// in the logs. It touches nothing else, needs no agent, and writes the same
// bytes for the same logs and rules.
//
// Several logs are one stream: give rotated ones oldest first. Stamps without
// a year get the newest one that does not lie behind the last change of the
// first log (or now, for standard input); zones that a stamp does not carry
// are the host's. Line numbers count through all logs, as if they were one
// file. Sources on the allow list
// are judged like all others and not written. Pins are not known here.
func Replay(ctx context.Context, o ReplayOptions, stdout io.Writer) error {
	if o.Compare != [2]string{} {
		return compare(ctx, o, stdout)
	}
	c := &config.Config{Rules: policy.DefaultRules(), Limits: policy.DefaultLimits()}
	if o.ConfigPath != "" {
		var err error
		if c, err = config.Load(o.ConfigPath); err != nil {
			return err
		}
	}
	total, reference, err := surveyLogs(o.Logs)
	if err != nil {
		return err
	}
	p, err := newPipeline(c, maillog.Options{Location: time.Local, Reference: reference})
	if err != nil {
		return err
	}
	if err := setLocator(c, p.engine); err != nil {
		return err
	}
	p.ledger.SetAllow(c.Allow)
	out := bufio.NewWriterSize(stdout, 64<<10)
	format, err := newFormat(o, out, p.ledger.Ledger)
	if err != nil {
		return err
	}
	r := replay{pipeline: p, to: format, progress: o.Progress, total: total}
	for _, path := range o.Logs {
		if err := r.log(ctx, path, o.Stdin); err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	format.summary(p.parser.Stats())
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// surveyLogs finds missing logs before the first is read. The size is 0 if it
// is not known of all.
func surveyLogs(paths []string) (total int64, reference time.Time, err error) {
	var errs []error
	known := true
	for i, path := range paths {
		if path == "-" {
			known = false
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("open log: %w", err))
			continue
		}
		known = known && info.Mode().IsRegular()
		total += info.Size()
		if i == 0 && info.Mode().IsRegular() {
			reference = info.ModTime()
		}
	}
	if !known {
		total = 0
	}
	return total, reference, errors.Join(errs...)
}

// replay is a replay under way.
type replay struct {
	pipeline    *pipeline
	to          stagedObserver
	progress    func(read, total int64)
	read, total int64  // bytes
	lines       uint64 // of the logs before
}

// stagedObserver is told what a replay finds, and says when it can take no more.
type stagedObserver interface {
	observer
	failed() error
}

func (r *replay) log(ctx context.Context, path string, stdin io.Reader) error {
	log, err := openReplay(path, stdin)
	if err != nil {
		return err
	}
	defer log.Close()
	err = r.stages(ctx, log)
	r.read += log.Consumed()
	if r.progress != nil {
		r.progress(r.read, r.total)
	}
	if err != nil {
		return fmt.Errorf("replay %s: %w", path, err)
	}
	return nil
}

func openReplay(path string, stdin io.Reader) (*intake.Replay, error) {
	if path == "-" && stdin != nil {
		r, err := intake.NewReplay(stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return r, nil
	}
	r, _, err := intake.OpenReplay(path)
	return r, err
}
