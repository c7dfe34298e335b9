package notify

import (
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	text "text/template"
	"time"
	"unicode"

	"weir/policy"
)

//go:embed templates
var shipped embed.FS

// Templates are the texts of mails: a folder a language, in it admin.txt and
// admin.html, user.txt and user.html. The first line of a .txt is the subject.
// They are given a Report.
type Templates struct {
	text map[string]*text.Template // by "LANGUAGE/AUDIENCE"
	html map[string]*html.Template
}

var audiences = []string{"admin", "user"}

// LoadTemplates reads the texts of some languages: from dir, if it is given and
// has them, else those that are shipped. Each is tried, so that a mistake is
// found now and not when it matters.
func LoadTemplates(dir string, languages ...string) (*Templates, error) {
	t := &Templates{text: make(map[string]*text.Template), html: make(map[string]*html.Template)}
	var errs []error
	for _, language := range languages {
		for _, audience := range audiences {
			if err := t.load(dir, language, audience); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return t, errors.Join(errs...)
}

func (t *Templates) load(dir, language, audience string) error {
	name := language + "/" + audience
	plain, plainName, err := readTemplate(dir, name+".txt")
	if err != nil {
		return err
	}
	rich, richName, err := readTemplate(dir, name+".html")
	if err != nil {
		return err
	}
	if t.text[name], err = text.New(plainName).Funcs(text.FuncMap(functions)).Parse(plain); err != nil {
		return err
	}
	if t.html[name], err = html.New(richName).Funcs(html.FuncMap(functions)).Parse(rich); err != nil {
		return err
	}
	_, err = t.write(language, audience, example())
	return err
}

// readTemplate returns a template and where it stands.
func readTemplate(dir, name string) (content, where string, err error) {
	if dir != "" {
		where = filepath.Join(dir, name)
		b, err := os.ReadFile(where)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return string(b), where, err
		}
	}
	b, err := shipped.ReadFile("templates/" + name)
	if err != nil {
		return "", "", fmt.Errorf("no template %s: shipped are %s; write others into the folder that templates names below [notify]",
			name, strings.Join(Languages(), " and "))
	}
	return string(b), name, nil
}

// Languages returns the languages that are shipped.
func Languages() (all []string) {
	entries, err := shipped.ReadDir("templates")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return all
}

// write fills the texts of a language and an audience.
func (t *Templates) write(language, audience string, r *Report) (c content, err error) {
	name := language + "/" + audience
	var plain, rich strings.Builder
	if err := t.text[name].Execute(&plain, r); err != nil {
		return content{}, err
	}
	if err := t.html[name].Execute(&rich, r); err != nil {
		return content{}, err
	}
	c.subject, c.text, _ = strings.Cut(plain.String(), "\n")
	c.text, c.html = strings.TrimLeft(c.text, "\n"), rich.String()
	return c, nil
}

// functions are what templates may use beside those of text/template.
var functions = map[string]any{
	"stamp": func(t time.Time) string { return t.Format("2006-01-02 15:04 MST") },
	"span": func(from time.Time, to *time.Time) string {
		if to == nil {
			return ""
		}
		return policy.FormatDuration(to.Sub(from).Round(time.Second))
	},
	// What others chose is shown as it is, but on one line.
	"line": func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return '?'
		}, s)
	},
	"first": func(n int, lines []Line) []Line { return lines[:min(n, len(lines))] },
}

// example is a report to try templates with.
func example() *Report {
	since := time.Date(2026, 11, 26, 9, 30, 0, 0, time.UTC)
	until := since.Add(6 * time.Hour)
	return &Report{
		Version: 1, Host: "mail.example.com", Mode: "enforce", Time: since, Unnamed: 1,
		Notices: []Notice{{
			User: "alice@example.com", Action: "guard", Rule: "sources-per-user", Since: since, Until: &until, Offence: 1,
			Reason:   "12 different sources in 14m for alice@example.com",
			Sources:  []Source{{Source: "203.0.113.7", Action: "drop", Attempts: 3, Dropped: 9}, {Source: "2001:db8:7::/64"}},
			More:     10,
			Evidence: []Line{{Time: since, Kind: "message", Source: "203.0.113.7", Service: "submission", Recipients: 25, Text: "a line"}},
			Stopped:  Stopped{Sources: 12, Attempts: 40, Packets: 120},
			Release:  "weir release alice@example.com", Explain: "weir explain alice@example.com",
		}},
	}
}
