package maillog

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRunningServers reads whole logs that running servers wrote while real
// clients talked to them, and wants what those clients did, each from an
// address of its own.
func TestRunningServers(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join("testdata", "running", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, log := range logs {
		t.Run(strings.TrimSuffix(filepath.Base(log), ".log"), func(t *testing.T) {
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			done := mustDeeds(t, strings.TrimSuffix(log, ".log")+".txt")
			told := map[string][]string{}
			p, number := newTestParser(), uint64(0)
			for line := range bytes.Lines(text) {
				number++
				for _, e := range p.Line(line, number, nil) {
					source := e.Source.String()
					told[source] = append(told[source], fmt.Sprintf("%s %q %s %d", e.Kind, e.User, cmp.Or(e.Service, "-"), e.Recipients))
				}
			}
			for source, want := range done {
				got := told[source]
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s: the log tells of\n  %s\nand the client did\n  %s", source, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
				}
				delete(told, source)
			}
			for source, got := range told {
				t.Errorf("%s did nothing, and the log tells of\n  %s", source, strings.Join(got, "\n  "))
			}
			if p.counts.notUnderstood != 0 && !strings.Contains(p.Stats().Sample, "192.0.2.66") {
				t.Errorf("not understood: %s", p.Stats().Sample)
			}
		})
	}
}

// mustDeeds reads what clients did, by source.
func mustDeeds(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		source, deed, ok := strings.Cut(line, " ")
		if !ok {
			t.Fatalf("%s: %q is not SOURCE DEED", file, line)
		}
		done[source] = append(done[source], deed)
	}
	for _, deeds := range done {
		slices.Sort(deeds)
	}
	return done
}
