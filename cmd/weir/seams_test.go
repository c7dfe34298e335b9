package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/agent"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

func TestReplayIsAskedFor(t *testing.T) {
	s := mustStage(t, &controltest.Backend{})
	s.stdin = strings.NewReader("stdin")
	var got agent.ReplayOptions
	s.replay = func(_ context.Context, o agent.ReplayOptions, out io.Writer) error {
		got = o
		if o.Progress != nil {
			o.Progress(50, 100)
		}
		_, err := io.WriteString(out, "replayed\n")
		return err
	}
	if code := s.weir("replay", "--output", "jsonl", "--events", "a.log", "-"); code != 0 || s.out.String() != "replayed\n" || s.err.Len() > 0 {
		t.Errorf("code %d: %s%s", code, &s.out, &s.err)
	}
	if strings.Join(got.Logs, " ") != "a.log -" || got.Output != agent.OutputJSONL || !got.Events || got.ConfigPath != s.config || got.Stdin != s.stdin || got.Progress != nil {
		t.Errorf("asked for %+v", got)
	}
	if code := s.main(context.Background(), []string{"replay", "a.log"}); code != 0 || exists(config.DefaultPath) != (got.ConfigPath != "") {
		t.Errorf("code %d, configuration %q", code, got.ConfigPath)
	}
	s.isTerminal = func(any) bool { return true }
	if code := s.weir("replay", "a.log"); code != 0 || !strings.Contains(s.err.String(), "replay") || s.out.String() != "replayed\n" {
		t.Errorf("on a terminal: code %d: %q %q", code, &s.out, &s.err)
	}
	if code := s.weir("replay", "--output", "xml", "a.log"); code != exitUsage {
		t.Errorf("bad output: code %d", code)
	}
}

func TestRunIsAskedFor(t *testing.T) {
	s := mustStage(t, &controltest.Backend{})
	s.run = func(_ context.Context, o agent.Options) error {
		if err := o.Validate(); err != nil || o.Reload == nil {
			t.Errorf("options %+v: %v", o, err)
		}
		return config.Errors{{File: filepath.Base(o.ConfigPath), Line: 3, Problem: o.Version, Remedy: "none"}}
	}
	if code := s.weir("run"); code != exitUsage || s.err.String() != "weir: weir.toml:3: 1.0-test: none\n" {
		t.Errorf("code %d: %s", code, &s.err)
	}
}

func TestLogger(t *testing.T) {
	for journal, want := range map[bool]string{true: "level=INFO msg=x g.time=1\n", false: "time="} {
		var out strings.Builder
		newLogger(&out, journal).WithGroup("g").Info("x", "time", 1)
		if !strings.HasPrefix(out.String(), want) {
			t.Errorf("journal %t: %q", journal, &out)
		}
	}
}

func TestVersion(t *testing.T) {
	s := mustStage(t, &controltest.Backend{})
	if code := s.weir("version"); code != 0 || !strings.HasPrefix(s.out.String(), "weir 1.0-test\ncontrol protocol 1\ngo") {
		t.Errorf("code %d: %s", code, &s.out)
	}
	if buildVersion() == "" {
		t.Error("the program has no version")
	}
}

func TestExitCodes(t *testing.T) {
	for err, want := range map[error]int{
		nil:                                     exitOK,
		errors.New("x"):                         exitFailure,
		context.Canceled:                        exitFailure,
		&usageError{"weir", errors.New("x")}:    exitUsage,
		config.Errors{{}}[0]:                    exitUsage,
		fmt.Errorf("x: %w", control.ErrInvalid): exitUsage,
		control.ErrNotRunning:                   exitNotRunning,
		control.ErrProtocol:                     exitNotRunning,
		control.ErrBusy:                         exitNotRunning,
		control.ErrForbidden:                    exitForbidden,
		nothingf("x"):                           exitNothing,
		&control.Problem{Code: "forbidden"}:     exitForbidden,
		&control.Problem{Code: "of the future"}: exitFailure,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
	for code, meaning := range exitTable() {
		if meaning == "" {
			t.Errorf("exit code %d is not documented", code)
		}
	}
}

func TestWords(t *testing.T) {
	day := 24 * time.Hour
	later := noon.Add(30 * time.Second)
	for _, c := range []struct{ got, want string }{
		{span(0), "0s"}, {span(59*time.Second + 999*time.Millisecond), "1m"}, {span(30*day - time.Second), "30d"}, {span(day - time.Second), "1d"}, {span(time.Hour - time.Second), "59m59s"}, {span(time.Minute), "1m"}, {span(12*time.Minute + 5*time.Second), "12m5s"},
		{span(3*time.Hour + 59*time.Second), "3h1m"}, {span(3*day + 4*time.Hour + time.Minute), "3d4h"}, {span(400 * day), "400d"},
		{ago(noon, noon.Add(-time.Minute)), "1m ago"}, {ago(noon, later), "in 30s"},
		{ahead(noon, nil), "never"}, {ahead(noon, &later), "in 30s"}, {ahead(later, &later), "now"},
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(uint64(1234567)), "1,234,567"}, {count(-123), "-123"}, {count(-1234), "-1,234"},
		{plural(1, "line"), "1 line"}, {plural(1000, "line"), "1,000 lines"},
		{rate(0), "0"}, {rate(0.25), "0.25"}, {rate(99.96), "100"}, {rate(12345.6), "12,346"},
		{size(0), "0 B"}, {size(1023), "1023 B"}, {size(1536), "1.5 KiB"}, {size(5 << 30), "5.0 GiB"}, {size(5 << 40), "5120.0 GiB"},
		{seconds(0), "0ms"}, {seconds(0.000247), "0.25ms"}, {seconds(0.0042), "4.2ms"}, {seconds(0.02), "20ms"}, {seconds(1.25), "1.2s"}, {seconds(75), "1m15s"},
		{printable("plain \"quoted\" ü"), "plain \"quoted\" ü"}, {printable("a\x1b[2J\n\xffb"), `a\x1b[2J\n\xffb`}, {printable(`back\slash` + "\t"), `back\\slash\t`},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
