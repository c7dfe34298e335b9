package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A small run measures every row, and what it shows can be read.
func TestDatapath(t *testing.T) {
	o := datapathOptions{
		sources: []uint32{1, 64}, peerSources: []uint32{64}, prefixes: 64,
		runs: 1, length: time.Millisecond, rounds: 1,
	}
	report, err := benchDatapath(t.Context(), o)
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("SKIPPED, NOT TESTED against the kernel: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	weirs := 0
	for _, r := range report.rows {
		if r.missing != "" {
			t.Logf("%s NOT TESTED: %s", r.contender, r.missing)
			continue
		}
		if strings.HasPrefix(r.contender, "weir") {
			weirs++
		}
		if len(r.runs) != o.runs || r.rate() < 1000 || r.runs[0].part < 0.9 || r.runs[0].part > 1.1 {
			t.Errorf("%s, %s: %+v", r.contender, r.what, r.runs)
		}
	}
	if weirs < 10 || len(report.warm) < 10 || report.table.fill <= 0 || report.table.memory[1].four == 0 {
		t.Errorf("%d rows of weir, %d of warm programs, %+v", weirs, len(report.warm), report.table)
	}
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(path, []byte(datapathBegin+datapathEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := report.update(path); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "drops openings by prefix") {
		t.Errorf("%v, %s", err, text)
	}
}

// figures is a report with these rates for a contender, the empty program first.
func figures() *datapathReport {
	empty := &row{contender: "empty program", what: "drops IPv4", runs: []pace{{5e6, 1}, {4e6, 1}, {6e6, 1}}}
	weir := &row{contender: "weir", what: "drops IPv4", flagged: 1_000_000, base: empty, plotted: "weir, IPv4", runs: []pace{{2.5e6, 1}, {1e6, 1}, {3e6, 1}}}
	missing := &row{contender: "xdp-filter", what: "drops IPv4", plotted: "xdp-filter", missing: "not\nthere"}
	return &datapathReport{rows: []*row{empty, weir, missing}}
}

func TestDatapathRows(t *testing.T) {
	text := figures().String()
	for _, want := range []string{
		"| empty program | drops IPv4 | – | 5.00 | 1 | 0 | 100.0 % |",
		"| weir | drops IPv4 | 1,000,000 | 2.50 | 0.50 | 200 | 100.0 % |",
		"NOT MEASURED: not there",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestDatapathPlot(t *testing.T) {
	text := figures().plot()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	if !strings.Contains(text, "weir, IPv4") || strings.Contains(text, "xdp-filter") {
		t.Error(text)
	}
}

func TestApart(t *testing.T) {
	names := apart([]label{{name: "c", at: 30}, {name: "a", at: 10}, {name: "b", at: 12}})
	for i := range names[1:] {
		if names[i+1].at-names[i].at < labelGap || names[i].name > names[i+1].name {
			t.Errorf("%+v", names)
		}
	}
}
