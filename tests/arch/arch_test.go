// Package arch holds the lines that the project drew for itself: who may
// import whom, how long a file may get, which words are not used. They are
// kept by this test, not by people's memory.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "weir"

// line says what the packages of a folder may import beyond the standard
// library. A pattern ends with "/..." to mean the folder and all below it.
type line struct {
	folder  string
	ours    []string // of this module
	foreign []string // of other modules; nil: any
}

// The first line whose folder matches a package holds for it.
var lines = []line{
	{folder: "policy/...", foreign: []string{"github.com/gaissmai/bart/..."}},
	{folder: "loader/..."},
	{folder: "userspace/agent/...", ours: []string{"policy/...", "loader/...", "userspace/..."}},
	{folder: "userspace/...", ours: []string{"policy/...", "loader/...", "userspace/mailconf"}}, // and what is below itself
	{folder: "cmd/...", ours: []string{"userspace/..."}},
	{folder: "tests/...", ours: []string{"..."}},
}

type goPackage struct {
	ImportPath   string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Standard     bool
}

func mustRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func mustList(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,Standard", "./...")
	cmd.Dir = mustRoot(t)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatalf("read go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// matches reports whether path is what pattern means.
func matches(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	folder, below := strings.CutSuffix(pattern, "/...")
	return path == folder || below && strings.HasPrefix(path, folder+"/")
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// foreign reports whether an import comes from another module: only those
// have a dot in their first element.
func foreign(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// mayImport reports whether the package at path (without the module's name)
// may import the package imported. The code and its tests keep the same line.
func mayImport(path, imported string) bool {
	i := slices.IndexFunc(lines, func(l line) bool { return matches(l.folder, path) })
	if i < 0 {
		return false
	}
	ours, isOurs := strings.CutPrefix(imported, module+"/")
	switch {
	case isOurs:
		return ours == path || matchesAny(lines[i].ours, ours) || sameConcern(path, ours)
	case foreign(imported):
		return lines[i].foreign == nil || matchesAny(lines[i].foreign, imported)
	}
	return true
}

// sameConcern reports whether two packages stand below the same folder of
// userspace, or of another top folder.
func sameConcern(a, b string) bool {
	concern := func(path string) string {
		parts := strings.SplitN(path, "/", 3)
		if parts[0] == "userspace" && len(parts) > 1 {
			return parts[0] + "/" + parts[1]
		}
		return parts[0]
	}
	return concern(a) == concern(b)
}

func TestImportLines(t *testing.T) {
	for _, p := range mustList(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imports := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for _, imported := range imports {
				if !mayImport(path, imported) {
					t.Errorf("%s may not import %s", path, imported)
				}
			}
		}
	}
}

func TestImportLinesSayNo(t *testing.T) {
	for _, c := range []struct {
		path, imported string
		want           bool
	}{
		{"policy", "weir/loader", false},
		{"policy", "github.com/gaissmai/bart", true},
		{"policy", "github.com/cilium/ebpf", false},
		{"policy", "net/netip", true},
		{"loader", "weir/policy", false},
		{"loader/internal/x", "weir/loader", true},
		{"loader", "github.com/cilium/ebpf", true},
		{"userspace/store", "weir/policy", true},
		{"userspace/store", "weir/userspace/intake", false},
		{"userspace/agent", "weir/userspace/intake", true},
		{"userspace/protect", "weir/userspace/mailconf", true},
		{"userspace/mailconf", "weir/userspace/intake", false},
		{"cmd/weir", "weir/userspace/control", true},
		{"cmd/weir", "weir/loader", false},
		{"somewhere", "weir/policy", false},
	} {
		if got := mayImport(c.path, c.imported); got != c.want {
			t.Errorf("%s importing %s: allowed is %t", c.path, c.imported, got)
		}
	}
}

// Files that people write, by their ending.
var written = []string{".go", ".c", ".h", ".sh", ".toml", ".service"}

const maxLines = 400

// words that the glossary does not have, and notes that belong elsewhere.
// They are spelt apart, so that this file does not hold them.
var words = regexp.MustCompile(`(?i)\b(` + strings.Join([]string{
	"b" + "an", "b" + "ans", "b" + "anned", "b" + "anning", "j" + "ail(s|ed)?",
	"black" + `list\w*`, "white" + `list\w*`, "TO" + "DO", "FIX" + "ME",
}, "|") + `)\b`)

func TestFiles(t *testing.T) {
	root := mustRoot(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !slices.Contains(written, filepath.Ext(name)) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		checkFile(t, relative, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, name string, text []byte) {
	t.Helper()
	if bytes.Contains(text, []byte("\n// Code generated ")) || bytes.HasPrefix(text, []byte("// Code generated ")) {
		return
	}
	if n := bytes.Count(text, []byte("\n")); n > maxLines {
		t.Errorf("%s has %d lines; split it, %d are enough for one idea", name, n, maxLines)
	}
	for i, content := range bytes.Split(text, []byte("\n")) {
		if word := words.Find(content); word != nil {
			t.Errorf("%s:%d: %q is not a word of ours", name, i+1, word)
		}
		if strings.HasSuffix(name, ".go") && bytes.HasPrefix(content, []byte("func init"+"(")) {
			t.Errorf("%s:%d: no init functions: let the caller decide when", name, i+1)
		}
	}
}
