package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := map[string]struct {
		in   string
		want []string
	}{
		"empty":             {"", nil},
		"one":               {"a\n", []string{"a"}},
		"no final newline":  {"a\nb", []string{"a", "b"}},
		"empty lines":       {"\n\na\n\n", []string{"", "", "a", ""}},
		"NUL, CR, UTF-8":    {"\x00\r\n\xff\xfe\n", []string{"\x00\r", "\xff\xfe"}},
		"as long as may be": {long[:2048] + "\nb\n", []string{long[:2048], "b"}},
		"too long":          {"a\n" + long + "\nb\n", []string{"a", long[:2048], "b"}},
		"too long, no end":  {"a\n" + long, []string{"a", long[:2048]}},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"data and EOF": iotest.DataErrReader,
	}
	for name, tt := range tests {
		for how, reader := range readers {
			t.Run(name+"/"+how, func(t *testing.T) {
				s := newSplitter(2048)
				r := reader(strings.NewReader(tt.in))
				var got []string
				total := 0
				take := func(line []byte, size int) {
					got = append(got, string(line))
					total += size
				}
				for err := error(nil); err == nil; {
					var n int
					n, err = r.Read(s.space())
					s.wrote(n)
					for line, size, ok := s.next(); ok; line, size, ok = s.next() {
						take(line, size)
					}
				}
				if s.pending() > 0 {
					take(s.rest())
				}
				if !slices.Equal(got, tt.want) || total != len(tt.in) {
					t.Errorf("got %d lines of %d bytes, want %d of %d", len(got), total, len(tt.want), len(tt.in))
				}
			})
		}
	}
}

func TestSplitterBounded(t *testing.T) {
	s := newSplitter(64 << 10)
	chunk := bytes.Repeat([]byte{'x'}, 32<<10)
	for range 1000 {
		s.wrote(copy(s.space(), chunk))
		if _, _, ok := s.next(); ok {
			t.Fatal("a line without newline came out")
		}
	}
	if len(s.buf) > 2*bufferSize {
		t.Errorf("buffer grew to %d bytes for a line without end", len(s.buf))
	}
}

func collect(t *testing.T, path string) []string {
	t.Helper()
	r, size, err := OpenReplay(path)
	mustDo(t, err)
	defer r.Close()
	var got []string
	mustDo(t, Lines(r, func(line []byte, number uint64) error {
		got = append(got, string(line))
		if number != uint64(len(got)) {
			t.Fatalf("line %d has number %d", len(got), number)
		}
		return nil
	}))
	if r.Consumed() != size {
		t.Errorf("consumed %d of %d bytes", r.Consumed(), size)
	}
	return got
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		mustDo(t, os.WriteFile(path, b, 0o600))
		return path
	}
	text := []byte("a\n\x00\xff\nlast without newline")
	want := []string{"a", "\x00\xff", "last without newline"}
	members := append(gzipped(t, text[:3]), gzipped(t, text[3:])...)
	for name, b := range map[string][]byte{
		"plain.log": text, "packed.gz": gzipped(t, text), "misnamed.log": gzipped(t, text),
		"plain-inside.gz": text, "two-members.gz": members,
	} {
		if got := collect(t, write(name, b)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := collect(t, write("empty", nil)); got != nil {
		t.Errorf("empty file: got %q", got)
	}
}

func TestReplayErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "is a directory",
	} {
		if _, _, err := OpenReplay(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", path, err, want)
		}
	}
	whole := gzipped(t, []byte(strings.Repeat("line\n", 1000)))
	r := must(NewReplay(bytes.NewReader(whole[:len(whole)-9])))(t)
	n := 0
	err := Lines(r, func([]byte, uint64) error { n++; return nil })
	if !errors.Is(err, io.ErrUnexpectedEOF) || n == 0 {
		t.Errorf("damaged gzip: %d lines and error %v", n, err)
	}
	stop := errors.New("stop")
	err = Lines(strings.NewReader("a\nb\n"), func([]byte, uint64) error { return stop })
	if err != stop {
		t.Errorf("error of the callback came back as %v", err)
	}
	if _, err := NewReplay(bytes.NewReader([]byte{0x1f, 0x8b, 0})); err == nil {
		t.Error("damaged gzip header accepted")
	}
}

func BenchmarkLines(b *testing.B) {
	text := sampleLog(100_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	lines := 0
	for b.Loop() {
		mustDo(b, Lines(bytes.NewReader(text), func([]byte, uint64) error { lines++; return nil }))
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
}

func sampleLog(lines int) []byte {
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, "2026-11-22T00:%02d:%02d.%06d+00:00 mail postfix/submission/smtpd[%d]: warning: unknown[192.0.2.%d]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n",
			i/60%60, i%60, i%1000000, i%30000, i%256)
	}
	return b.Bytes()
}
