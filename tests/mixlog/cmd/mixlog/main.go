// Command mixlog writes a log as package mixlog makes it, and the events that
// it tells of, one JSON object a line.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"weir/policy"
	"weir/tests/mixlog"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mixlog:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	o := mixlog.DefaultOptions()
	flags := flag.NewFlagSet("mixlog", flag.ContinueOnError)
	flags.Uint64Var(&o.Lines, "lines", o.Lines, "how many `lines` to write")
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "the log's `number`: another gives another log")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "`sessions` that begin in a second")
	flags.BoolVar(&o.Traditional, "traditional", o.Traditional, "write stamps without a year")
	output := flags.String("o", "-", "write the log to `file`")
	truth := flags.String("truth", "", "write the events to `file`; empty: not at all")
	counts := flags.Bool("counts", false, "write to standard error what the log is made of")
	if err := flags.Parse(args); err != nil {
		return err
	}
	g, err := mixlog.New(o)
	if err != nil {
		return err
	}
	log, err := create(*output, stdout)
	if err != nil {
		return err
	}
	defer log.close()
	events, err := create(*truth, io.Discard)
	if err != nil {
		return err
	}
	defer events.close()
	tally := newTally()
	encoder := json.NewEncoder(events)
	encoder.SetEscapeHTML(false)
	for g.Next() {
		r := g.Record()
		log.Write(r.Line) // errors stay until Flush
		log.WriteByte('\n')
		if *truth != "" {
			for _, e := range r.Events {
				if err := encoder.Encode(jsonEvent(e)); err != nil {
					return fmt.Errorf("write events: %w", err)
				}
			}
		}
		if *counts {
			tally.add(r)
		}
	}
	if *counts {
		tally.write(os.Stderr)
	}
	return errors.Join(log.close(), events.close())
}

// output is a buffered file.
type output struct {
	*bufio.Writer
	file io.Closer
}

func create(path string, none io.Writer) (*output, error) {
	if path == "" || path == "-" {
		return &output{Writer: bufio.NewWriterSize(none, 1<<18)}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &output{bufio.NewWriterSize(f, 1<<18), f}, nil
}

func (o *output) close() error {
	err := o.Flush()
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
		o.file = nil
	}
	return err
}

// event is written as `weir replay --events --output none` writes it, so that
// the two can be compared byte by byte.
type event struct {
	Time       string      `json:"time"`
	Kind       policy.Kind `json:"kind"`
	Source     string      `json:"source"`
	User       string      `json:"user"`
	Service    string      `json:"service"`
	Server     string      `json:"server"`
	Recipients int         `json:"recipients"`
	Line       uint64      `json:"line"`
}

func jsonEvent(e policy.Event) event {
	return event{e.Time.Format("2006-01-02T15:04:05.000000Z07:00"), e.Kind, e.Source.String(), e.User, e.Service, e.Server, e.Recipients, e.Line}
}
