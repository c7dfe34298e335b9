package maillog

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/policy"
)

// template is a line as a server writes it, in parts.
type template struct {
	line  string // as the file has it
	parts []templatePart
}

// templatePart is the server's words and, unless the line ends with them, how
// the client's stand behind them.
type templatePart struct {
	text string
	mark byte // 0: no words of the client's
}

// mustTemplates returns the templates of each server. In a file @ stands for
// the client's words, @80 and @64 where Dovecot cuts them, @Q where they are
// quoted, @M where rspamd writes a message ID, and @@ for an @. The client is
// 203.0.113.5.
func mustTemplates(t testing.TB) map[string][]template {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "injection", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	all := map[string][]template{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		server := strings.TrimSuffix(filepath.Base(file), ".txt")
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(line, "\n"); line != "" && line[0] != '#' {
				all[server] = append(all[server], newTemplate(line))
			}
		}
	}
	return all
}

func newTemplate(line string) template {
	t := template{line: line}
	var part templatePart
	for rest := line; ; {
		before, behind, found := strings.Cut(rest, "@")
		part.text += before
		if !found {
			t.parts = append(t.parts, part)
			return t
		}
		rest = behind
		if strings.HasPrefix(rest, "@") {
			part.text += "@"
			rest = rest[1:]
			continue
		}
		part.mark = '@'
		for _, mark := range []string{"Q", "M", "80", "64"} {
			if strings.HasPrefix(rest, mark) {
				part.mark, rest = mark[0], rest[len(mark):]
			}
		}
		t.parts = append(t.parts, part)
		part = templatePart{}
	}
}

// fill appends the line in which the client has said text to b.
func (t *template) fill(b []byte, text string) []byte {
	for _, part := range t.parts {
		b = append(b, part.text...)
		switch part.mark {
		case '@':
			b = append(b, text...)
		case 'Q':
			for _, c := range []byte(text) {
				if c == '\\' || c == '"' {
					b = append(b, '\\')
				}
				b = append(b, c)
			}
		case 'M':
			for _, c := range text {
				if c <= ' ' || c >= 0x7f {
					c = '?'
				}
				b = append(b, byte(c))
			}
		case '8':
			b = append(b, text[:min(80, len(text))]...)
		case '6':
			b = append(b, text[:min(64, len(text))]...)
		}
	}
	return b
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
	all := mustTemplates(t)
	for k := range patternCount {
		if server, _, _ := strings.Cut(k.String(), "-"); len(all[server]) == 0 {
			t.Errorf("no template of %s", server)
		}
	}
	for server, templates := range all {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			var line []byte
			var events []policy.Event
			names := newInterner(maxUsers) // shared, as most names are
			for _, template := range templates {
				p := newBusyParser()
				p.users = names
				for _, word := range words {
					line = template.fill(line[:0], word)
					events = p.Line(line, 3, events[:0])
					for _, e := range events {
						if e.Source != real {
							t.Fatalf("source %v instead of %v:\n%s", e.Source, real, line)
						}
					}
				}
				names = p.users
			}
			t.Logf("%d forged lines", len(templates)*len(words))
		})
	}
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
