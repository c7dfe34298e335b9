package audit_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"weir/userspace/audit"
)

func mustNotFail(t *testing.T) func(error) {
	return func(err error) { t.Helper(); t.Error(err) }
}

// lines returns what the file holds, each line read as JSON.
func lines(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), audit.FileName)
	var all sync.WaitGroup
	for writer := range 8 { // two of them in other processes would do no other thing
		log := audit.New(path, mustNotFail(t))
		all.Go(func() {
			for i := range 20 {
				log.Info("pinned", "by", "root", "writer", writer, "n", i)
			}
		})
	}
	all.Wait()
	got := lines(t, path)
	if len(got) != 160 {
		t.Fatalf("%d lines", len(got))
	}
	if one := got[0]; one["change"] != "pinned" || one["by"] != "root" || one["time"] == nil || one["level"] != nil {
		t.Errorf("%v", one)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestRotation moves the file away between two changes.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), audit.FileName)
	log := audit.New(path, mustNotFail(t))
	log.Info("pinned")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log.Info("unpinned")
	if old, now := lines(t, path+".1"), lines(t, path); len(old) != 1 || len(now) != 1 || now[0]["change"] != "unpinned" {
		t.Errorf("%v, %v", old, now)
	}
}

// TestTornLine begins a new line after one that has no end.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), audit.FileName)
	if err := os.WriteFile(path, []byte(`{"change":"pin`), 0o640); err != nil {
		t.Fatal(err)
	}
	audit.New(path, mustNotFail(t)).Info("unpinned")
	data, err := os.ReadFile(path)
	if err != nil || strings.Count(string(data), "\n") != 2 || !strings.HasPrefix(string(data), "{\"change\":\"pin\n{") {
		t.Errorf("%s, %v", data, err)
	}
}

// TestOwner is a file that root's command makes in the folder of the agent.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("must run as root")
		}
		t.Skip("SKIPPED: only root can make files for others")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, 12346); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, audit.FileName)
	audit.New(path, mustNotFail(t)).Info("panic")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 12345 || owner.Gid != 12346 {
		t.Errorf("it is %d's and %d's", owner.Uid, owner.Gid)
	}
}

// TestFailures tells of what cannot be written, and follows no link that
// somebody put in the file's place.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "none", audit.FileName): os.ErrNotExist,
		link: syscall.ELOOP,
	} {
		var failed error
		audit.New(path, func(err error) { failed = err }).Info("panic")
		if !errors.Is(failed, want) || !strings.Contains(failed.Error(), path) {
			t.Errorf("%s: %v", path, failed)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("the link was followed")
	}
}
