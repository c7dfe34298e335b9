package maillog

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mustTemplates returns lines as servers write them, with @ where the client's
// words stand, @80 and @64 where Dovecot cuts them, @Q where they are quoted,
// @M where rspamd writes a message ID, and @@ for an @. There is one file a server; the client is 203.0.113.5.
func mustTemplates(t testing.TB) (templates []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "injection", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(line, "\n"); line != "" && line[0] != '#' {
				templates = append(templates, line)
			}
		}
	}
	return templates
}

// fill puts the client's text into a template.
func fill(template, text string) string {
	var b strings.Builder
	for {
		before, mark, found := strings.Cut(template, "@")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		switch {
		case strings.HasPrefix(mark, "@"):
			b.WriteByte('@')
			mark = mark[1:]
		case strings.HasPrefix(mark, "Q"):
			for _, c := range []byte(text) {
				if c == '\\' || c == '"' {
					b.WriteByte('\\')
				}
				b.WriteByte(c)
			}
			mark = mark[1:]
		case strings.HasPrefix(mark, "80"):
			b.WriteString(text[:min(80, len(text))])
			mark = mark[2:]
		case strings.HasPrefix(mark, "64"):
			b.WriteString(text[:min(64, len(text))])
			mark = mark[2:]
		case strings.HasPrefix(mark, "M"):
			for _, c := range text {
				if c <= ' ' || c >= 0x7f {
					c = '?'
				}
				b.WriteRune(c)
			}
			mark = mark[1:]
		default:
			b.WriteString(text)
		}
		template = mark
	}
}

// newBusyParser returns a parser that knows of two messages under way: the
// client's, and one of a user elsewhere, whose queue ID forgers know.
func newBusyParser() *Parser {
	p := newTestParser()
	p.Line([]byte("Nov 22 00:20:00 mx postfix/smtpd[1]: 3A9F2C0D1E: client=unknown[203.0.113.5], sasl_method=PLAIN, sasl_username=bob"), 1, nil)
	p.Line([]byte("Nov 22 00:20:00 mx postfix/smtpd[2]: 4B9F2C0D1E: client=unknown[192.0.2.66], sasl_method=PLAIN, sasl_username=alice"), 2, nil)
	return p
}

// Every field that clients choose is filled with every line of the corpus.
func TestInjection(t *testing.T) {
	real := netip.MustParseAddr("203.0.113.5")
	words := mustForgeries(t)
	tried := 0
	for _, template := range mustTemplates(t) {
		p := newBusyParser()
		for _, word := range words {
			line := fill(template, word)
			for _, e := range p.Line([]byte(line), 3, nil) {
				if e.Source != real {
					t.Fatalf("source %v instead of %v:\n%s", e.Source, real, line)
				}
			}
			tried++
		}
	}
	t.Logf("%d forged lines", tried)
}

// mustForgeries returns what clients may write: every line of the corpus with
// addresses that are not theirs, whole and in parts.
func mustForgeries(t testing.TB) (words []string) {
	t.Helper()
	clients := strings.NewReplacer("203.0.113.", "192.0.2.", "198.51.100.", "192.0.2.", "2001:db8:", "2001:db8:bad:", "10.0.0.", "192.0.2.", "127.0.0.", "192.0.2.",
		"3A9F2C0D1E", "4B9F2C0D1E", "354301989FF", "4B9F2C0D1E", "27AC11FC41B", "4B9F2C0D1E")
	for k := range patternCount {
		for _, s := range mustSamples(t, filepath.Join("testdata", "corpus", k.String()+".txt")) {
			for _, line := range s.lines {
				line = clients.Replace(line)
				words = append(words, line, line[min(len(line), 16):])
				for _, mark := range []string{": ", "user=<", "rip=", "client=", "from ", "warning: ", "(", "[", "<= ", "H=", ") [", "x) [", ", Queue-ID: ", ", user: ", "client: ", "' for user '", ". AUTH"} {
					for i := 0; ; {
						n := strings.Index(line[i:], mark)
						if n < 0 {
							break
						}
						words = append(words, line[i+n:], "x"+line[i+n:], line[i+n+len(mark):])
						i += n + len(mark)
					}
				}
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}
