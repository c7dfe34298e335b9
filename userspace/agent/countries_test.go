package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Replay refuses a database that it cannot read: what it wrote would be
// another judgement than the one asked for. An agent goes on without.
func TestCountriesNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weir.toml")
	if err := os.WriteFile(path, []byte("[geo]\ndatabase = \""+dir+"/none.mmdb\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := Replay(t.Context(), ReplayOptions{ConfigPath: path, Logs: []string{"-"}, Stdin: strings.NewReader(""), Output: OutputText}, &out)
	if err == nil || !strings.Contains(err.Error(), "none.mmdb") {
		t.Errorf("got %v", err)
	}

	b := newBench(t)
	b.write(b.options().ConfigPath, mustRead(t, b.options().ConfigPath)+"\n[geo]\ndatabase = \""+dir+"/none.mmdb\"\n")
	mustStop(t, b.mustStart())
	if said := b.output.String(); !strings.Contains(said, "countries are not known") || !strings.Contains(said, "none.mmdb") {
		t.Errorf("not said:\n%s", said)
	}
}
