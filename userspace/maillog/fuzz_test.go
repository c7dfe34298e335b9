package maillog

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

// FuzzLine reads any line: no panic, the same answer each time, and no source
// that the line does not name.
func FuzzLine(f *testing.F) {
	for _, line := range mustAllLines(f) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p := newTestParser()
		events := p.Line(line, 1, nil)
		again := newTestParser().Line(bytes.Clone(line), 1, nil)
		if len(events) != len(again) || len(events) > 2*maxRepeat {
			t.Fatalf("%d events, then %d", len(events), len(again))
		}
		for i, e := range events {
			if e != again[i] {
				t.Fatalf("first %v, then %v", e, again[i])
			}
			if !e.Source.IsValid() || e.Source.Zone() != "" || e.Source.Is4In6() || e.Line != 1 || e.Time.IsZero() || len(e.User) > 3*maxUserLen {
				t.Fatalf("event %+v", e)
			}
			if e.Source.Is4() && !bytes.Contains(line, []byte(e.Source.String())) {
				t.Fatalf("source %v is not in the line", e.Source)
			}
		}
		state, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := newTestParser().UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzField puts any text where clients may put theirs, as the server would
// write it: the source stays the client's. The fuzzer chooses the template.
func FuzzField(f *testing.F) {
	var templates []template
	all := mustTemplates(f)
	for _, server := range slices.Sorted(maps.Keys(all)) {
		templates = append(templates, all[server]...)
	}
	for i, line := range mustAllLines(f) {
		f.Add(line, uint16(i))
		f.Add(line[16:], uint16(i+1))
		if _, user, ok := strings.Cut(line, "user=<"); ok {
			f.Add("x>"+user[strings.IndexByte(user, '>')+1:], uint16(i+2))
		}
	}
	real := netip.MustParseAddr("203.0.113.5")
	f.Fuzz(func(t *testing.T, text string, choice uint16) {
		text = strings.Map(func(c rune) rune {
			if c < ' ' || c == 0x7f {
				return '?'
			}
			return c
		}, text)
		line := templates[int(choice)%len(templates)].fill(nil, text)
		for _, e := range newBusyParser().Line(line, 3, nil) {
			if e.Source != real {
				t.Fatalf("source %v instead of %v:\n%s", e.Source, real, line)
			}
		}
	})
}

// FuzzAddr compares the address reader with the standard library's.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"203.0.113.5", "2001:db8::1", "::", "::1", "1::", "::ffff:203.0.113.5", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:203.0.113.5", "fe80::1%eth0", "01.2.3.4", "256.1.1.1", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "1.2.3", ":1", "1:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, n := leadingAddr([]byte(s))
		if n > len(s) {
			t.Fatalf("%q: read %d bytes", s, n)
		}
		want, err := netip.ParseAddr(s)
		if err == nil && want.Zone() == "" {
			if n != len(s) || got != want.Unmap() {
				t.Fatalf("%q: got %v (%d bytes), want %v", s, got, n, want)
			}
		} else if err != nil && n > 0 && n == len(s) && !strings.Contains(s, "%") {
			t.Fatalf("%q: got %v, want none", s, got)
		}
	})
}

// FuzzState reads damaged state: an error or a parser that works.
func FuzzState(f *testing.F) {
	p := newTestParser()
	for i, line := range mustAllLines(f) {
		p.Line([]byte(line), uint64(i), nil)
	}
	state, err := p.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add([]byte(stateVersion))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newTestParser()
		if p.UnmarshalBinary(data) != nil {
			return
		}
		var events []policy.Event
		events = p.Line([]byte("Nov 22 00:20:01 mx postfix/smtpd[1]: 3A9F2C0D1E: client=unknown[203.0.113.5], sasl_method=PLAIN, sasl_username=bob"), 1, events)
		events = p.Line([]byte("Nov 22 00:20:01 mx postfix/qmgr[1]: 3A9F2C0D1E: from=<>, size=1, nrcpt=1 (queue active)"), 2, events)
		p.Message(time.Unix(0, 0), "", "postfix/smtpd", 1, []byte("warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: x"), 3, events)
	})
}
