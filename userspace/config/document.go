package config

import (
	"errors"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// document is a parsed TOML file with the line of each key and element.
type document struct {
	file   string
	starts []int          // offset of each line but the first
	lines  map[string]int // by path, its parts joined by pathSeparator
	errors Errors

	warnings Errors
}

const pathSeparator = "\x00"

// fail notes a problem at a line.
func (d *document) fail(line int, problem, remedy string) {
	d.errors = append(d.errors, &Error{File: d.file, Line: line, Problem: problem, Remedy: remedy})
}

// warn notes what is allowed at a line, and likely to hurt.
func (d *document) warn(line int, problem, remedy string) {
	d.warnings = append(d.warnings, &Error{File: d.file, Line: line, Problem: problem, Remedy: remedy})
}

// parseDocument reads data and returns its top section. On a syntax error,
// which TOML does not recover from, it is nil and the error is in d.
func parseDocument(file string, data []byte) (*document, *section) {
	d := &document{file: file, lines: map[string]int{"": 1}}
	values := make(map[string]any)
	if err := toml.Unmarshal(data, &values); err != nil {
		line := 1
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ = at.Position()
		}
		d.fail(line, "not valid TOML, "+strings.TrimPrefix(err.Error(), "toml: "), "correct the line (https://toml.io tells the form)")
		return d, nil
	}
	d.locate(data)
	return d, newSection(d, "", "", values)
}

// locate fills d.lines. data is valid TOML.
func (d *document) locate(data []byte) {
	for i, c := range data {
		if c == '\n' {
			d.starts = append(d.starts, i+1)
		}
	}
	var p unstable.Parser
	p.Reset(data)
	tables := make(map[string]int) // how many [[tables]] of a path there are
	base := ""
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			base = ""
			line := 0
			for key := node.Key(); key.Next(); {
				line = d.lineOf(key.Node())
				base = join(base, string(key.Node().Data))
				if d.lines[base] == 0 {
					d.lines[base] = line
				}
				if n := tables[base]; n > 0 && (node.Kind == unstable.Table || !key.IsLast()) {
					base = join(base, strconv.Itoa(n-1))
				}
			}
			if node.Kind == unstable.ArrayTable {
				tables[base]++
				base = join(base, strconv.Itoa(tables[base]-1))
			}
			d.lines[base] = line
		case unstable.KeyValue:
			d.locateValue(base, node)
		}
	}
}

// locateValue notes the lines of a key and of what is in its value.
func (d *document) locateValue(base string, node *unstable.Node) {
	path := base
	for key := node.Key(); key.Next(); {
		path = join(path, string(key.Node().Data))
		d.lines[path] = d.lineOf(key.Node())
	}
	d.locateInside(path, node.Value())
}

func (d *document) locateInside(path string, value *unstable.Node) {
	switch value.Kind {
	case unstable.Array:
		i := 0
		for it := value.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			element := join(path, strconv.Itoa(i))
			d.lines[element] = d.lines[path]
			if it.Node().Raw.Length > 0 {
				d.lines[element] = d.lineOf(it.Node())
			}
			d.locateInside(element, it.Node())
			i++
		}
	case unstable.InlineTable:
		for it := value.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				d.locateValue(path, it.Node())
			}
		}
	}
}

// lineOf returns the line of a node that has a place in the file.
func (d *document) lineOf(node *unstable.Node) int {
	return 1 + sort.SearchInts(d.starts, int(node.Raw.Offset)+1)
}

func join(path, part string) string {
	if path == "" {
		return part
	}
	return path + pathSeparator + part
}
