package intake

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// frames feeds a stream in pieces of the given sizes, the last as often as
// needed, and returns the messages; one that was cut ends with "…".
func frames(t testing.TB, stream []byte, limit int, sizes ...int) (out []string, pending bool, err error) {
	t.Helper()
	f := newFramer(limit)
	for i := 0; len(stream) > 0; i++ {
		size := min(sizes[min(i, len(sizes)-1)], len(stream))
		for size > 0 {
			room := f.space()
			if len(room) == 0 || len(f.buf) > max(firstBuffer, limit+maxDigits+2) {
				t.Fatalf("room for %d bytes in a buffer of %d", len(room), len(f.buf))
			}
			n := copy(room, stream[:size])
			f.wrote(n)
			stream, size = stream[n:], size-n
			for {
				message, cut, ok, err := f.next()
				if err != nil {
					return out, true, err
				}
				if !ok {
					break
				}
				if cut {
					message = append(bytes.Clone(message), "…"...)
				}
				out = append(out, string(message))
			}
		}
	}
	return out, f.pending(), nil
}

func TestStream(t *testing.T) {
	const limit = 10
	long := strings.Repeat("x", 25)
	tests := map[string]struct {
		in      string
		out     []string
		pending bool
		bad     bool
	}{
		"counted":                     {"5 <22>a3 b c", []string{"<22>a", "b c"}, false, false},
		"counted, newline inside":     {"9 <2>a\n<3>b", []string{"<2>a\n<3>b"}, false, false},
		"counted, newlines between":   {"1 a\n1 b\n", []string{"a", "b"}, false, false},
		"counted, too long":           {"25 " + long + "2 yz", []string{long[:10] + "…", "yz"}, false, false},
		"counted, as long as allowed": {"10 " + long[:10] + "1 y", []string{long[:10], "y"}, false, false},
		"counted, half":               {"5 <22>", nil, true, false},
		"counted, half a length":      {"12", nil, true, false},
		"counted, NUL inside":         {"3 a\x00b", []string{"a\x00b"}, false, false},
		"counted, then not":           {"1 a<22>b\n", []string{"a"}, true, true},
		"counted, nothing":            {"1 a0 1 b", []string{"a"}, true, true},
		"counted, zero first":         {"1 a01 b", []string{"a"}, true, true},
		"counted, huge":               {"999999999 x", nil, true, true},
		"counted, no space":           {"12x", nil, true, true},
		"lines":                       {"<22>a\n<22>b\n", []string{"<22>a", "<22>b"}, false, false},
		"lines, empty ones":           {"\n\na\n\n", []string{"a"}, false, false},
		"lines, one begins with 9":    {"<22>a\n3 b c\n", []string{"<22>a", "3 b c"}, false, false},
		"lines, the last has no end":  {"<22>a\n<22>b", []string{"<22>a"}, true, false},
		"lines, too long":             {"<" + long + "\n<b\n", []string{"<" + long[:9] + "…", "<b"}, false, false},
		"lines, too long, no end":     {"<" + long, []string{"<" + long[:9] + "…"}, true, false},
		"lines, as long as allowed":   {"<" + long[:9] + "\n<b\n", []string{"<" + long[:9], "<b"}, false, false},
		"nothing":                     {"", nil, false, false},
	}
	for name, tt := range tests {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			t.Run(fmt.Sprintf("%s, by %d", name, size), func(t *testing.T) {
				out, pending, err := frames(t, []byte(tt.in), limit, size)
				if !slices.Equal(out, tt.out) || pending != tt.pending || (err != nil) != tt.bad {
					t.Errorf("got %q, pending %t, %v", out, pending, err)
				}
			})
		}
	}
}

var update = flag.Bool("update", false, "write golden files anew")

// What real syslog daemons sent; see testdata/syslog/README.md.
func TestSyslogStreams(t *testing.T) {
	streams := must(filepath.Glob("testdata/syslog/*.stream"))(t)
	if len(streams) != 4 {
		t.Fatalf("streams: %q", streams)
	}
	for _, path := range streams {
		var got strings.Builder
		messages, pending, err := frames(t, must(os.ReadFile(path))(t), maxNetworkMessage, 50)
		if pending || err != nil {
			t.Errorf("%s: pending %t, %v", path, pending, err)
		}
		for _, m := range messages {
			f := parseFrame([]byte(m), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), time.UTC)
			fmt.Fprintf(&got, "%s %s %s %d %q", f.time.Format(time.RFC3339Nano), f.host, f.program, f.pid, f.message)
			if f.cutName {
				got.WriteString(" (name cut)")
			}
			got.WriteByte('\n')
		}
		golden := strings.TrimSuffix(path, ".stream") + ".golden"
		if *update {
			mustDo(t, os.WriteFile(golden, []byte(got.String()), 0o644))
		}
		if want := string(must(os.ReadFile(golden))(t)); got.String() != want {
			t.Errorf("%s: got\n%swant\n%s", path, got.String(), want)
		}
	}
}

// simpleFrames does what a framer does, given all at once.
func simpleFrames(in []byte, limit int) (out []string, pending, bad bool) {
	took := func(message []byte) {
		if len(message) > limit {
			out = append(out, string(message[:limit])+"…")
		} else {
			out = append(out, string(message))
		}
	}
	if len(in) == 0 {
		return nil, false, false
	}
	if in[0] < '1' || in[0] > '9' {
		lines := bytes.Split(in, []byte("\n"))
		for _, line := range lines[:len(lines)-1] {
			if len(line) > 0 {
				took(line)
			}
		}
		last := lines[len(lines)-1]
		if len(last) > limit {
			took(last)
		}
		return out, len(last) > 0, false
	}
	for {
		in = bytes.TrimLeft(in, "\n")
		if len(in) == 0 {
			return out, false, false
		}
		digits := len(in) - len(bytes.TrimLeft(in, "0123456789"))
		switch {
		case digits == 0 || digits > maxDigits || in[0] == '0':
			return out, true, true
		case digits == len(in):
			return out, true, false
		case in[digits] != ' ':
			return out, true, true
		}
		length, _ := strconv.Atoi(string(in[:digits]))
		in = in[digits+1:]
		if len(in) < length {
			if len(in) >= limit {
				took(append(bytes.Clone(in[:limit]), 'x'))
			}
			return out, true, false
		}
		took(in[:length])
		in = in[length:]
	}
}

// FuzzStream holds a framer to what the simple one finds, however the stream
// is cut up, in bounded memory.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"5 <22>a3 b c", "9 <2>a\n<3>b", "<22>a\n<22>b\n", "<22>a\n3 b c\n", "70 x", "1 a\n\n1 b", "0 ", "12345678", "123456789 ", "\n1 a\n",
		"<" + strings.Repeat("y", 200) + "\n<b\n", "150 " + strings.Repeat("y", 200),
	} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint16) {
		const limit = 64
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		sizes := make([]int, len(in)+1)
		for i := range sizes {
			sizes[i] = 1 + random.IntN(1+int(seed)%200)
		}
		got, pending, err := frames(t, in, limit, sizes...)
		want, wantPending, bad := simpleFrames(in, limit)
		if !slices.Equal(got, want) || pending != wantPending || (err != nil) != bad {
			t.Fatalf("of %q, by %d: got %q, %t, %v; want %q, %t, %t", in, seed, got, pending, err, want, wantPending, bad)
		}
	})
}
