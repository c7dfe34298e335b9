package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"weir/tests/lab"
)

// snippet returns block n, from 0, of a language in a page of the
// documentation: what is run here is what operators copy.
func snippet(t *testing.T, page, language string, n int) string {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```"+regexp.QuoteMeta(language)+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if n >= len(blocks) {
		t.Fatalf("%s has %d blocks of %s", page, len(blocks), language)
	}
	return blocks[n][1]
}
