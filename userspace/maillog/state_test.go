package maillog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// mustAllLines returns the lines of the whole corpus.
func mustAllLines(t testing.TB) (lines []string) {
	t.Helper()
	for k := range patternCount {
		for _, s := range mustSamples(t, filepath.Join("testdata", "corpus", k.String()+".txt")) {
			lines = append(lines, s.lines...)
		}
	}
	return lines
}

// Wherever a parser is stopped and another one goes on, the events are the
// same: here after every line that changes what is saved.
func TestRestartAnywhere(t *testing.T) {
	logs := map[string][]string{"corpus": mustAllLines(t), "mixed": mustMixedLines(2)}
	files, err := filepath.Glob(filepath.Join("testdata", "running", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		logs[strings.TrimSuffix(filepath.Base(file), ".log")] = strings.Split(string(text), "\n")
	}
	for name, lines := range logs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, stopped := newTestParser(), newTestParser()
			var saved []byte
			for i, line := range lines {
				want := whole.Line([]byte(line), uint64(i+1), nil)
				got := stopped.Line([]byte(line), uint64(i+1), nil)
				if !slices.Equal(got, want) {
					t.Fatalf("after restarts: %v, not %v\n%s", got, want, line)
				}
				state, err := stopped.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(state, saved) {
					continue
				}
				saved, stopped = state, newTestParser()
				if err := stopped.UnmarshalBinary(state); err != nil {
					t.Fatalf("after line %d: %v", i+1, err)
				}
			}
		})
	}
}

func mustMixedLines(rounds int) (lines []string) {
	for _, line := range mixedLog(rounds) {
		lines = append(lines, string(line))
	}
	return lines
}

func TestRestartWithFullTables(t *testing.T) {
	p := newTestParser()
	p.queue, p.sessions, p.told = newTable[queued](maxQueued), newTable[session](maxSessions), newLedger(maxTold)
	for i := range 2 * maxQueued {
		stamp := fmt.Sprintf("Nov 22 %02d:%02d:%02d mx postfix/smtpd[%d]: ", i/3600%24, i/60%60, i%60, i+1)
		addr := fmt.Sprintf("203.%d.%d.5", i>>8&255, i&255)
		p.Line(fmt.Appendf(nil, "%s%08X: client=unknown[%s], sasl_method=PLAIN, sasl_username=u%d", stamp, i, addr, i%100), uint64(i), nil)
		p.Line(fmt.Appendf(nil, "%swarning: unknown[%s]: SASL LOGIN authentication failed: x", stamp, addr), uint64(i), nil)
	}
	state, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if len(state) > 8<<20 {
		t.Errorf("%d bytes of state", len(state))
	}
	q := newTestParser()
	if err := q.UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	again, err := q.MarshalBinary()
	if err != nil || !slices.Equal(state, again) {
		t.Errorf("state changes when it is read and written (%v)", err)
	}
}

func TestStateOfAnotherVersion(t *testing.T) {
	p := newTestParser()
	state, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{nil, []byte("weir maillog 99\n"), state[:len(state)-3], append([]byte(nil), state[:len(stateVersion)]...)} {
		if err := newTestParser().UnmarshalBinary(data); !errors.Is(err, ErrState) {
			t.Errorf("%.30q: got %v, want ErrState", data, err)
		}
	}
}

// A record of the journal says the same as the line of a file.
func TestMessage(t *testing.T) {
	for _, line := range mustAllLines(t) {
		var r record
		if !splitHeader([]byte(line), &r) || len(r.host) == 0 {
			continue
		}
		file := mustRows(t, newTestParser().Line([]byte(line), 1, nil))
		p := newTestParser()
		p.clock.follow(r.stamp)
		at, ok := p.when(&r)
		if !ok {
			continue
		}
		journal := mustRows(t, p.Message(at, "", string(r.program), int(r.pid), r.text, 1, nil))
		if !slices.Equal(file, journal) {
			t.Errorf("%s\nfile %v\njournal %v", line, file, journal)
		}
	}
}

func TestStats(t *testing.T) {
	p := newTestParser()
	for _, line := range []string{
		"Nov 22 00:20:01 mx postfix/smtpd[1]: connect from unknown[203.0.113.5]",
		"Nov 22 00:20:02 mx postfix/smtpd[1]: lost connection after AUTH from unknown[203.0.113.5]",
		"Nov 22 00:20:03 mx postfix/smtpd[1]: something new of unknown[203.0.113.5]",
		"Nov 22 00:20:04 mx sshd[1]: Failed password for root from 203.0.113.5 port 22 ssh2",
	} {
		p.Line([]byte(line), 1, nil)
	}
	s := p.Stats()
	if s.Lines != 4 || s.Events != 1 || s.NotUnderstood != 1 || s.Sample != "postfix/smtpd: something new of unknown[203.0.113.5]" {
		t.Errorf("got %+v", s)
	}
	if s.Patterns[postfixConnect].Lines != 1 {
		t.Errorf("patterns: %+v", s.Patterns)
	}
}

// Every table of a parser is saved.
func TestAllTablesAreSaved(t *testing.T) {
	p := newTestParser()
	saved := map[any]bool{}
	for _, s := range p.savers() {
		saved[s] = true
	}
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		for i := range v.NumField() {
			field, name := v.Field(i), name+"."+v.Type().Field(i).Name
			if field.Kind() != reflect.Struct {
				continue
			}
			at := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Interface()
			if _, ok := at.(saver); !ok {
				walk(field, name)
			} else if !saved[at] {
				t.Errorf("%s is not saved", name)
			}
		}
	}
	walk(reflect.ValueOf(p).Elem(), "Parser")
}
