package document

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.md")
	for _, c := range []struct{ before, after string }{
		{"a\n<x>\nold\n<y>\nb\n", "a\n<x>\nnew\n<y>\nb\n"},
		{"<x>\n<y>\n", "<x>\nnew\n<y>\n"},
		{"<y>\n<x>\n", ""},
		{"", ""},
	} {
		if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Replace(path, "<x>\n", "<y>\n", "new\n")
		text, _ := os.ReadFile(path)
		if c.after == "" && (err == nil || string(text) != c.before) {
			t.Errorf("%q has no place, and becomes %q", c.before, text)
		}
		if c.after != "" && (err != nil || string(text) != c.after) {
			t.Errorf("%q becomes %q, %v", c.before, text, err)
		}
	}
}
