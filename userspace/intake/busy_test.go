package intake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A log that is written to and rotated without pause, by a writer that nobody
// waits for, under a follower that is restarted again and again.
func TestFileBusy(t *testing.T) {
	const lines, every, after = 20_000, 400, 30 // rotated every so many lines; the writer follows after some more
	rotate := map[string]func(path string) error{
		"rename": func(path string) error { return os.Rename(path, path+".1") },
		"copytruncate": func(path string) error {
			b, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".1", b, 0o600), os.Truncate(path, 0))
		},
	}
	for name, rotate := range rotate {
		t.Run(name, func(t *testing.T) {
			o := DefaultFileOptions()
			o.Path = filepath.Join(t.TempDir(), "mail.log")
			o.FromStart = true
			open := func() (*os.File, error) {
				return os.OpenFile(o.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			}
			wrote := make(chan error, 1)
			out := must(open())(t)
			must(fmt.Fprintln(out, 0))(t)
			write := func() error {
				for i := 1; i < lines; i++ {
					if i%every == 0 {
						for age := lines / every; age > 0; age-- {
							os.Rename(fmt.Sprintf("%s.%d", o.Path, age), fmt.Sprintf("%s.%d", o.Path, age+1))
						}
						if err := rotate(o.Path); err != nil {
							return err
						}
					}
					if i > every && i%every == after {
						out.Close()
						var err error
						if out, err = open(); err != nil {
							return err
						}
					}
					if _, err := fmt.Fprintf(out, "%d\n", i); err != nil {
						return err
					}
				}
				return out.Close()
			}
			begin := sync.OnceFunc(func() { go func() { wrote <- write() }() })
			var at Position
			next, lost := 0, uint64(0)
			for next < lines {
				in := mustFile(t, o)
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				enough := errors.New("enough")
				stop := next + 1_500
				err := in.Run(ctx, at, func(batch []Record, after Position) error {
					begin()
					for _, r := range batch {
						if string(r.Line) != fmt.Sprint(next) {
							return fmt.Errorf("got line %q, want %d", r.Line, next)
						}
						next++
					}
					at = after
					if next >= min(stop, lines) {
						return enough
					}
					return nil
				})
				cancel()
				if err != enough {
					t.Fatalf("after line %d: %v; %+v", next, err, in.Stats())
				}
				lost += in.Stats().Lost
			}
			mustDo(t, <-wrote)
			if lost != 0 {
				t.Errorf("%d losses counted though nothing was lost", lost)
			}
		})
	}
}
