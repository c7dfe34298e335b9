// Package hub compares what weir reads with what another project's parsers
// read from the same lines: samples of mail logs that nobody here chose.
//
// The samples are those of the CrowdSec hub's parser tests, which are not
// part of this repository. WEIR_HUB_SAMPLES names the folder that holds them,
// one folder a test with *.log and parser.assert; without it they are looked
// for beside the checkout.
package hub

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/maillog"
)

// beside is where the samples lie if the environment names no folder.
const beside = "../../../shared/corpus/crowdsec-hub"

// reading is what the other project reads from a line.
type reading struct {
	message      string
	source, user string
	kind         string // its log_type
}

func TestReadingsAgree(t *testing.T) {
	root := cmp.Or(os.Getenv("WEIR_HUB_SAMPLES"), beside)
	logs, err := filepath.Glob(filepath.Join(root, "*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	if len(logs) == 0 {
		t.Skipf("NOTHING COMPARED: no samples in %s; set WEIR_HUB_SAMPLES to a folder of the CrowdSec hub's parser tests", root)
	}
	left := maps.Clone(otherwise)
	compared := 0
	for _, log := range logs {
		folder := filepath.Dir(log)
		lines := bytes.Split(bytes.TrimSuffix(mustRead(t, log), []byte("\n")), []byte("\n"))
		told, any := mustReadings(t, filepath.Join(folder, "parser.assert"), lines)
		if !any {
			continue // a sample of what is done with lines, not of how they are read
		}
		p := maillog.NewParser(maillog.Options{Reference: time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)})
		for i, line := range lines {
			place := fmt.Sprintf("%s:%d", filepath.Base(folder), i+1)
			events := p.Line(line, uint64(i+1), nil)
			problem := compare(told[i], events)
			if told[i].source != "" {
				compared++
			}
			reason, known := left[place]
			delete(left, place)
			switch {
			case problem != "" && !known:
				t.Errorf("%s: %s\n%s", place, problem, line)
			case problem == "" && known:
				t.Errorf("%s: weir agrees now; take %q out of the table", place, reason)
			}
		}
	}
	for place := range left {
		t.Errorf("%s: there is no such line", place)
	}
	t.Logf("%d lines compared, %d of them read otherwise", compared, len(otherwise))
}

// compare tells how weir's events of a line differ from the other reading.
func compare(r reading, events []policy.Event) string {
	if r.source == "" {
		for _, e := range events {
			if e.Kind != policy.Connection {
				return fmt.Sprintf("weir reads %s from %v, they nothing", e.Kind, e.Source)
			}
		}
		return ""
	}
	source, err := netip.ParseAddr(r.source)
	if err != nil {
		return fmt.Sprintf("their source %q is no address", r.source)
	}
	for _, e := range events {
		if e.Source != source {
			return fmt.Sprintf("weir reads source %v, they %v", e.Source, source)
		}
		login := e.Kind == policy.AuthFailure || e.Kind == policy.AuthSuccess
		if login && r.user != "" && e.User != r.user { // else it is a recipient
			return fmt.Sprintf("weir reads user %q, they %q", e.User, r.user)
		}
	}
	if len(events) == 0 {
		return fmt.Sprintf("weir reads nothing, they %s from %v, user %q", r.kind, source, r.user)
	}
	return ""
}

// assertion is a line such as
//
//	results["s01-parse"]["crowdsecurity/postfix-logs"][3].Evt.Meta["source_ip"] == "192.0.2.1"
var assertion = regexp.MustCompile(`^results\["(s[0-9]+-[^"]+"\]\["[^"]+)"\]\[(\d+)\]\.Evt\.(Meta|Parsed)\["([a-z_]+)"\] == (".*")$`)

// mustReadings returns the other readings, one for each of lines, and whether
// there is any. A result is found again by the message that it was read from;
// the results of equal messages come in the order of the lines.
func mustReadings(t *testing.T, file string, lines [][]byte) (told []reading, any bool) {
	t.Helper()
	stages := map[string]map[int]*reading{} // each has its own count of results
	for line := range strings.Lines(string(mustRead(t, file))) {
		m := assertion.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		number, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		value, err := strconv.Unquote(m[5])
		if err != nil {
			t.Fatalf("%s: %s: %v", file, m[5], err)
		}
		results := stages[m[1]]
		if results == nil {
			results = map[int]*reading{}
			stages[m[1]] = results
		}
		r := results[number]
		if r == nil {
			r = &reading{}
			results[number] = r
		}
		switch m[3] + "." + m[4] {
		case "Meta.source_ip":
			r.source = value
		case "Meta.username":
			r.user = value
		case "Meta.log_type":
			r.kind = value
		case "Parsed.message":
			r.message = value
		}
	}
	told = make([]reading, len(lines))
	for _, stage := range slices.Sorted(maps.Keys(stages)) {
		results, taken := stages[stage], make([]bool, len(lines))
		for _, number := range slices.Sorted(maps.Keys(results)) {
			r := results[number]
			if r.message == "" || r.source == "" {
				continue
			}
			i := 0
			for i < len(lines) && (taken[i] || !bytes.Contains(lines[i], []byte(r.message))) {
				i++
			}
			if i == len(lines) {
				t.Fatalf("%s: result %d is of no line: %s", file, number, r.message)
			}
			told[i], taken[i], any = *r, true, true
		}
	}
	return told, any
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
