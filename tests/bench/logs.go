package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"weir/policy"
	"weir/tests/mixlog"
)

// refusals are failed logins, by source. They are compared as such, since not
// every contender says which line told it.
type refusals map[netip.Addr]int

func (r refusals) sum() (n int) {
	for _, count := range r {
		n += count
	}
	return n
}

// log is a file, and the failed logins of which it tells.
type log struct {
	path  string
	lines uint64
	bytes int64
	truth refusals
}

// logs are the whole log and its beginning.
type logs struct {
	whole, sample log
	load          string // of the machine, before
}

func (l *logs) of(c *contender) *log {
	if c.slow {
		return &l.sample
	}
	return &l.whole
}

func writeLogs(folder string, o options) (*logs, error) {
	options := mixlog.DefaultOptions()
	options.Lines = o.lines
	g, err := mixlog.New(options)
	if err != nil {
		return nil, err
	}
	l := &logs{
		load:   loadAverage(),
		whole:  log{path: filepath.Join(folder, "mail.log"), truth: refusals{}},
		sample: log{path: filepath.Join(folder, "sample.log"), truth: refusals{}},
	}
	files := [...]*log{&l.whole, &l.sample}
	var writers [len(files)]*bufio.Writer
	for i, file := range files {
		f, err := os.Create(file.path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		writers[i] = bufio.NewWriterSize(f, 1<<18)
	}
	for g.Next() {
		r := g.Record()
		for i, file := range files {
			if file == &l.sample && r.Number > o.sample {
				continue
			}
			writers[i].Write(r.Line) // errors stay until Flush
			writers[i].WriteByte('\n')
			file.lines++
			file.bytes += int64(len(r.Line)) + 1
			for _, e := range r.Events {
				if e.Kind == policy.AuthFailure {
					file.truth[e.Source]++
				}
			}
		}
	}
	return l, errors.Join(writers[0].Flush(), writers[1].Flush())
}

// millions reads "1,10,30".
func millions(text string) (list []uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a number of millions", part)
		}
		list = append(list, n*1_000_000)
	}
	return list, nil
}
