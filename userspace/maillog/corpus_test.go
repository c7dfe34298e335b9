package maillog

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

var update = flag.Bool("update", false, "write the events of testdata/corpus anew")

// reference is the day on which all samples are read.
var reference = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

// forged are the addresses that clients write into what they may choose.
var forged = []netip.Addr{netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("2001:db8:bad::66")}

func newTestParser() *Parser { return NewParser(Options{Reference: reference}) }

// row is an event as goldens show it.
type row struct {
	Time       time.Time   `json:"time"`
	Kind       policy.Kind `json:"kind"`
	Source     netip.Addr  `json:"source"`
	User       string      `json:"user,omitempty"`
	Service    string      `json:"service,omitempty"`
	Server     string      `json:"server"`
	Recipients int         `json:"recipients,omitempty"`
	Password   uint32      `json:"-"` // no log has it
	Line       uint64      `json:"line"`
}

// sample is a block of a corpus file.
type sample struct {
	comment []string
	kind    string // positive, negative, injection
	lines   []string
	want    []string // JSON; none at all if empty
}

func mustSamples(t testing.TB, file string) []sample {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for block := range strings.SplitSeq(string(text), "\n\n") {
		var s sample
		for line := range strings.SplitSeq(strings.TrimRight(block, "\n"), "\n") {
			switch {
			case strings.HasPrefix(line, "#"):
				s.comment = append(s.comment, line)
			case strings.HasPrefix(line, "["):
				s.kind = strings.Trim(line, "[]")
			case strings.HasPrefix(line, "> "):
				s.lines = append(s.lines, line[2:])
			case line != "none" && line != "":
				s.want = append(s.want, line)
			}
		}
		if s.kind == "" || len(s.lines) == 0 {
			t.Fatalf("%s: a block without kind or lines:\n%s", file, block)
		}
		all = append(all, s)
	}
	return all
}

func (s *sample) read(p *Parser) (events []policy.Event) {
	for i, line := range s.lines {
		events = p.Line([]byte(line), uint64(i+1), events)
	}
	return events
}

func mustRows(t testing.TB, events []policy.Event) (rows []string) {
	t.Helper()
	for _, e := range events {
		text, err := json.Marshal(row(e))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(text))
	}
	return rows
}

func TestCorpus(t *testing.T) {
	for k := range patternCount {
		t.Run(k.String(), func(t *testing.T) {
			file := filepath.Join("testdata", "corpus", k.String()+".txt")
			samples := mustSamples(t, file)
			seen := map[string]int{}
			for i := range samples {
				s := &samples[i]
				seen[s.kind]++
				p := newTestParser()
				events := s.read(p)
				found := p.counts.patterns[k]
				switch {
				case s.kind == "positive" && found == 0:
					t.Errorf("the pattern does not know its positive sample:\n%s", strings.Join(s.lines, "\n"))
				case s.kind == "negative" && found != 0:
					t.Errorf("the pattern takes a negative sample for its own:\n%s", strings.Join(s.lines, "\n"))
				}
				for _, e := range events {
					if slices.Contains(forged, e.Source) {
						t.Errorf("forged source %v in\n%s", e.Source, strings.Join(s.lines, "\n"))
					}
				}
				got := mustRows(t, events)
				if *update {
					s.want = got
				} else if !slices.Equal(got, s.want) {
					t.Errorf("%s\ngot\n%s\nwant\n%s", strings.Join(s.lines, "\n"), strings.Join(got, "\n"), strings.Join(s.want, "\n"))
				}
			}
			for _, kind := range []string{"positive", "negative", "injection"} {
				if seen[kind] == 0 {
					t.Errorf("%s has no %s sample", file, kind)
				}
				delete(seen, kind)
			}
			for kind := range seen {
				t.Errorf("%s: unknown kind of sample [%s]", file, kind)
			}
			if *update {
				writeSamples(t, file, samples)
			}
		})
	}
}

// TestKnownInjections wants a sample of each trick by which readers of other
// logs were made to block whom the attacker chose.
func TestKnownInjections(t *testing.T) {
	for name, k := range map[string]pattern{
		"CVE-2006-6302": dovecotLoginFailure,     // sshd: user name
		"CVE-2007-4321": dovecotLoginFailure,     // sshd: protocol version
		"CVE-2009-0362": postfixConnect,          // wu-ftpd: reverse name
		"CVE-2013-2178": postfixSASLFailure,      // Apache: request
		"CVE-2013-7176": postfixUnknownRecipient, // Postfix: mail address
		"CVE-2013-7177": cyrusLoginFailure,       // Cyrus imapd: user name
	} {
		samples := mustSamples(t, filepath.Join("testdata", "corpus", k.String()+".txt"))
		if !slices.ContainsFunc(samples, func(s sample) bool {
			return s.kind == "injection" && strings.Contains(strings.Join(s.comment, "\n"), name)
		}) {
			t.Errorf("no injection sample of %s among those of %s", name, k)
		}
	}
}

func writeSamples(t *testing.T, file string, samples []sample) {
	t.Helper()
	var b bytes.Buffer
	for i, s := range samples {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, c := range s.comment {
			b.WriteString(c + "\n")
		}
		b.WriteString("[" + s.kind + "]\n")
		for _, line := range s.lines {
			b.WriteString("> " + line + "\n")
		}
		for _, w := range s.want {
			b.WriteString(w + "\n")
		}
		if len(s.want) == 0 {
			b.WriteString("none\n")
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
