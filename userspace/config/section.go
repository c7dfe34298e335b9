package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/policy"
)

// section is one table of a document. Its methods read a key, note what is
// wrong with it, and return the zero value then and where it is missing.
type section struct {
	doc    *document
	path   string
	name   string // before the key in messages, such as `rule "x": `
	values map[string]any
	asked  map[string]bool
	broken map[string]bool // keys that have been complained about
}

func newSection(doc *document, path, name string, values map[string]any) *section {
	return &section{doc: doc, path: path, name: name, values: values, asked: make(map[string]bool), broken: make(map[string]bool)}
}

// line returns where key stands, or the section itself where it is missing.
func (s *section) line(key string) int {
	if n := s.doc.lines[join(s.path, key)]; n != 0 {
		return n
	}
	return s.doc.lines[s.path]
}

// elementLine returns where element i of the list key stands.
func (s *section) elementLine(key string, i int) int {
	return s.doc.lines[join(join(s.path, key), strconv.Itoa(i))]
}

func (s *section) fail(key, problem, remedy string) {
	s.broken[key] = true
	s.doc.fail(s.line(key), s.name+key+" "+problem, remedy)
}

func (s *section) failElement(key string, i int, problem, remedy string) {
	s.broken[key] = true
	s.doc.fail(s.elementLine(key, i), s.name+key+" "+problem, remedy)
}

// get returns the value of key and notes that the key is known.
func (s *section) get(key string) (any, bool) {
	s.asked[key] = true
	v, found := s.values[key]
	return v, found
}

func (s *section) text(key, example string) string {
	v, found := s.get(key)
	if !found {
		return ""
	}
	text, ok := v.(string)
	switch {
	case !ok:
		s.fail(key, "is not a text", fmt.Sprintf("write it in quotes, such as %s = %q", key, example))
	case text == "":
		s.fail(key, "is empty", fmt.Sprintf("remove it, or write a value such as %q", example))
	}
	return text
}

// texts returns a list of texts. A broken element is "".
func (s *section) texts(key, example string) []string {
	list := s.list(key, fmt.Sprintf("[%q]", example))
	out := make([]string, len(list))
	for i, v := range list {
		text, ok := v.(string)
		if !ok || text == "" {
			s.failElement(key, i, "holds something that is not a text", fmt.Sprintf("write each in quotes, such as %q", example))
		}
		out[i] = text
	}
	return out
}

func (s *section) list(key, example string) []any {
	v, found := s.get(key)
	if !found {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		s.fail(key, "is not a list", fmt.Sprintf("write it in brackets, such as %s = %s", key, example))
	}
	return list
}

// integer returns a number from low to high, and false where it is missing
// or broken.
func (s *section) integer(key string, low, high int) (int, bool) {
	v, found := s.get(key)
	if !found {
		return 0, false
	}
	n, ok := v.(int64)
	if !ok || n < int64(low) || n > int64(high) {
		s.fail(key, fmt.Sprintf("is %s", shown(v)), fmt.Sprintf("write a whole number from %d to %d, without quotes", low, high))
		return 0, false
	}
	return int(n), true
}

func (s *section) number(key string) float64 {
	v, found := s.get(key)
	if !found {
		return 0
	}
	switch n := v.(type) {
	case int64:
		return float64(n)
	case float64:
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			return n
		}
	}
	s.fail(key, "is "+shown(v), "write a number without quotes, such as 2 or 1.5")
	return 0
}

func (s *section) boolean(key string) bool {
	v, found := s.get(key)
	if !found {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		s.fail(key, "is "+shown(v), "write true or false, without quotes")
	}
	return b
}

func (s *section) duration(key, example string) time.Duration {
	text := s.text(key, example)
	if text == "" {
		return 0
	}
	d, err := policy.ParseDuration(text)
	if err != nil {
		s.fail(key, fmt.Sprintf("is %q", text), fmt.Sprintf("write a duration of 1s to ten years, such as %q (units: s, m, h, d, w)", example))
	}
	return d
}

// sections returns the tables of an array of tables.
func (s *section) sections(key string) []*section {
	v, found := s.get(key)
	if !found {
		return nil
	}
	list, ok := v.([]any)
	var out []*section
	for i, v := range list {
		values, table := v.(map[string]any)
		if !table {
			ok = false
			break
		}
		path := join(join(s.path, key), strconv.Itoa(i))
		out = append(out, newSection(s.doc, path, fmt.Sprintf("%s %d: ", key, i+1), values))
	}
	if !ok {
		s.fail(key, "is not a list of tables", fmt.Sprintf("begin each with a line [[%s]]", key))
		return nil
	}
	return out
}

// section returns a table, nil if it is missing.
func (s *section) section(key string) *section {
	v, found := s.get(key)
	if !found {
		return nil
	}
	values, ok := v.(map[string]any)
	if !ok {
		s.fail(key, "is not a table", fmt.Sprintf("write a line [%s] before its keys", key))
		return nil
	}
	return newSection(s.doc, join(s.path, key), key+": ", values)
}

// finish notes each key that nothing has asked for.
func (s *section) finish() {
	known := slices.Sorted(maps.Keys(s.asked))
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if s.asked[key] {
			continue
		}
		remedy := "remove it; known here are " + enumerate(known)
		if near := nearest(key, known); near != "" {
			remedy = fmt.Sprintf("write %s, or remove it", near)
		}
		s.doc.fail(s.line(key), fmt.Sprintf("%sunknown key %q", s.name, key), remedy)
	}
}

// shown writes a value for a message, bounded.
func shown(v any) string {
	text := fmt.Sprintf("%v", v)
	if s, ok := v.(string); ok {
		text = strconv.Quote(s)
	}
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return text
}

func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	out := words[0]
	for _, w := range words[1 : len(words)-1] {
		out += ", " + w
	}
	return out + " and " + words[len(words)-1]
}

// nearest returns the one of words that is at most two edits away from key.
func nearest(key string, words []string) string {
	best, near := 3, ""
	if len(key) > 64 {
		return ""
	}
	for _, w := range words {
		if d := edits(key, w); d < best && d < len(w) {
			best, near = d, w
		}
	}
	return near
}

// edits returns how many letters have to be added, removed or changed to
// make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
