package control

import (
	"bufio"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

// FuzzLines reads any bytes as a list of pins.
func FuzzLines(f *testing.F) {
	f.Add("192.0.2.1\n2001:db8::1 # a comment\n\n# none\r\n::ffff:192.0.2.0/120")
	f.Add("10.0.0.0/33\n#" + strings.Repeat("x", 2*MaxLine) + "\n0.0.0.0/0 # all")
	f.Add("fe80::1%eth0 # \x1b[2J\n1.2.3.4/32#")
	f.Fuzz(func(t *testing.T, text string) {
		number := 0
		for line, err := range Lines(bufio.NewReaderSize(strings.NewReader(text), 2*MaxLine)) {
			if line.Number <= number {
				t.Fatalf("line %d after line %d", line.Number, number)
			}
			number = line.Number
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Fatalf("a list in memory gives %v", err)
				}
				continue
			}
			if line.Prefix != policy.JudgedPrefix(line.Prefix) {
				t.Fatalf("%v is not in its judged form", line.Prefix)
			}
			again, err := ParseLine(policy.PrefixString(line.Prefix) + " # " + line.Comment)
			if err != nil || again.Prefix != line.Prefix || again.Comment != line.Comment {
				t.Fatalf("%+v is read back as %+v, %v", line, again, err)
			}
		}
		if limit := strings.Count(text, "\n") + 1; number > limit {
			t.Fatalf("line %d of %d", number, limit)
		}
	})
}

// FuzzRequest reads any bytes as what a request is made of: the terms of its
// first line, its query and a target.
func FuzzRequest(f *testing.F) {
	f.Add(`{"action":"limit","rate":"6/m","burst":5,"for":"30d","reason":"x"}`, "action=drop&pinned=true&prefix=10.0.0.0/8", "bob@example.org")
	f.Add(`{"action":"limit","bytes":"1.5M/s"}`, "action=tarpit", "198.51.100.0/24")
	f.Add(`{"action":"drop"} {}`, "begins=2001:&rule=a%20b", "2001:db8::1")
	f.Add(`{"action":"drop","acton":1}`, "acton=", "300.1.1.1")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, terms, query, target string) {
		if parsed, err := parseTerms(terms); err == nil {
			d, err := parsed.Decision(now, "root")
			openings, bytes := d.Rate.Every > 0 && d.Rate.Burst > 0, d.Rate.Bytes >= policy.MinBytes && d.Rate.Bytes <= policy.MaxBytes
			actions := []policy.Action{policy.Allow, policy.Limit, policy.Tarpit, policy.Drop}
			if err == nil && (!d.Pinned || d.Ended(now) || !slices.Contains(actions, d.Action) || (d.Action == policy.Limit) != (openings || bytes)) {
				t.Fatalf("%q gives the pin %+v", terms, d)
			}
			if err != nil && !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q gives %v", terms, err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Fatalf("%q gives %v", terms, err)
		}
		if values, err := url.ParseQuery(query); err == nil {
			if filter, err := filterFrom(values); err == nil {
				again, err := filterFrom(filter.query())
				if err != nil || again.query().Encode() != filter.query().Encode() {
					t.Fatalf("%+v is read back as %+v, %v", filter, again, err)
				}
			}
		}
		parsed, err := ParseTarget(target)
		if err != nil {
			return
		}
		if (parsed.User == "") == (parsed.Prefix == netip.Prefix{}) {
			t.Fatalf("%q gives %+v", target, parsed)
		}
		if again, err := ParseTarget(parsed.String()); err != nil || again != parsed {
			t.Fatalf("%q gives %v, which gives %v, %v", target, parsed, again, err)
		}
	})
}
