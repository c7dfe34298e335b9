package lists

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/policy"
)

const mixed = `; Spamhaus DROP List 2026/11/26 - (c) 2026 The Spamhaus Project
# ours
1.10.16.0/20 ; SBL256894
203.0.113.7            # the scanner of last week
2001:db8:bad::/48;SBL1
2001:db8::1
{"cidr":"1.19.0.0/16","sblid":"SBL434604","rir":"apnic"}
{"type":"metadata","timestamp":1764115200,"size":2,"copyright":"(c) 2026 The Spamhaus Project SLU"}

::ffff:198.51.100.0/120
`

func TestRead(t *testing.T) {
	rows, err := Read("drop.txt", mixed)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%v %d %s", r.Prefix, r.Line, r.Note))
	}
	want := []string{
		"1.10.16.0/20 3 SBL256894", "203.0.113.7/32 4 the scanner of last week", "2001:db8:bad::/48 5 SBL1",
		"2001:db8::/64 6 ", "1.19.0.0/16 7 SBL434604", "198.51.100.0/24 10 ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/24\n192.0.2.300\n": `drop.txt:2: "192.0.2.300" is no prefix: write such as`,
		"example.org":                 "drop.txt:1: ",
		"0.0.0.0/0":                   "drop.txt:1: 0.0.0.0/0 is wider than /8",
		"10.0.0.0/7 ; x":              "is wider than /8",
		"::/0":                        "is wider than /16",
		"192.0.2.1 192.0.2.2":         "is no prefix",
		`{"cidr":`:                    "drop.txt:1: is no JSON object",
		`{"cidr":"nonsense"}`:         "is no prefix",
		`{"cidr":7}`:                  "is no JSON object",
		strings.Repeat("x\n", 13):     "bad lines that are not shown: 3",
		"<html><body>404 Not Found</body></html>": "drop.txt:1: ",
	} {
		if _, err := Read("drop.txt", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
}

func mustRows(t testing.TB, text string) []Row {
	t.Helper()
	rows, err := Read("x", text)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestMergeAndDiff(t *testing.T) {
	soft := List{Name: "soft", Path: "/soft", Action: policy.Limit, Rate: policy.Rate{Every: time.Second, Burst: 3}}
	hard := List{Name: "hard", Path: "/hard", Action: policy.Drop}
	first := Merge([]Content{
		{List: soft, Rows: mustRows(t, "192.0.2.2\n192.0.2.1 # both\n192.0.2.1 # again")},
		{List: hard, Rows: mustRows(t, "192.0.2.1 # worse\n2001:db8::/32\n192.0.2.0/24")},
	})
	var got []string
	for _, d := range first {
		got = append(got, fmt.Sprintf("%v %v %s %q", d.Prefix, d.Action, d.Rule, d.Reason))
		if !d.Listed || d.Pinned || !d.Until.IsZero() {
			t.Errorf("%+v", d)
		}
	}
	want := []string{
		`192.0.2.0/24 drop hard "/hard:3"`, `192.0.2.1/32 drop hard "/hard:1: worse"`,
		`192.0.2.2/32 limit soft "/soft:1"`, `2001:db8::/32 drop hard "/hard:2"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("merged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	second := Merge([]Content{
		{List: soft, Rows: mustRows(t, "192.0.2.2\n192.0.2.1")},
		{List: hard, Rows: mustRows(t, "192.0.2.9\n2001:db8::/32")},
	})
	put, gone := Diff(first, second)
	if len(put) != 2 || put[0].Prefix.String() != "192.0.2.1/32" || put[0].Action != policy.Limit || put[1].Prefix.String() != "192.0.2.9/32" {
		t.Errorf("put %v", put)
	}
	if len(gone) != 1 || gone[0] != netip.MustParsePrefix("192.0.2.0/24") {
		t.Errorf("gone %v", gone)
	}
	if put, gone := Diff(second, second); len(put)+len(gone) != 0 {
		t.Errorf("the same differs: %v %v", put, gone)
	}
	if put, gone := Diff(second, nil); len(put) != 0 || len(gone) != len(second) {
		t.Error("nothing is left of no list")
	}
}

// A list is read anew when it has changed and is not being written any more;
// one with errors, or that is gone, changes nothing and is told once.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drop.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	f := NewFollower(List{Name: "drop", Path: path, Action: policy.Drop}, filepath.Join(dir, "kept", "drop"))
	if _, err := f.Start(now); err == nil {
		t.Error("no file is fine")
	}
	look := func(wantRows int, wantErr string) {
		t.Helper()
		c, changed, err := f.Look(now)
		switch {
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)), wantErr == "" && err != nil:
			t.Errorf("error %v, want %q", err, wantErr)
		case changed != (wantRows >= 0) || changed && len(c.Rows) != wantRows:
			t.Errorf("changed: %t, %d rows; want %d", changed, len(c.Rows), wantRows)
		}
	}
	look(-1, "")
	write("192.0.2.1\n")
	look(-1, "") // new
	write("192.0.2.1\n192.0.2.2\n")
	look(-1, "") // still written
	look(2, "")
	look(-1, "")
	write("192.0.2.1\n192.0.2.")
	look(-1, "")
	look(-1, path+`:2: "192.0.2." is no prefix`)
	look(-1, "") // said once
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look(-1, "no such file")
	look(-1, "")
	if f.Rows() != 2 {
		t.Errorf("%d rows stand", f.Rows())
	}

	// Another start, while the file is not good.
	write("nonsense")
	f = NewFollower(f.List, f.keep)
	c, err := f.Start(now)
	if err == nil || !strings.Contains(err.Error(), "nonsense") || len(c.Rows) != 2 {
		t.Errorf("%d rows, %v", len(c.Rows), err)
	}
	look(-1, "")
	write("")
	look(-1, "")
	look(0, "")
}

func FuzzRead(f *testing.F) {
	f.Add(mixed)
	f.Add("192.0.2.0/24;\n#\n;\n{\n{}\n{\"cidr\":null}\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := Read("x", text)
		if err != nil && !strings.HasPrefix(err.Error(), "x:") {
			t.Errorf("error %q", err)
		}
		for _, r := range rows {
			if r.Prefix != policy.JudgedPrefix(r.Prefix) || len(r.Note) > maxNote || r.Line < 1 || strings.Contains(r.Note, "\n") && text[0] != '{' {
				t.Errorf("row %+v", r)
			}
		}
	})
}

func BenchmarkMillion(b *testing.B) {
	var text strings.Builder
	for n := range 1_000_000 {
		fmt.Fprintf(&text, "11.%d.%d.%d ; SBL%d\n", n>>16, n>>8&255, n&255, n)
	}
	all := text.String()
	b.ReportAllocs()
	for b.Loop() {
		rows, err := Read("x", all)
		if err != nil {
			b.Fatal(err)
		}
		if got := Merge([]Content{{List: List{Name: "x", Path: "/etc/weir/x", Action: policy.Drop}, Rows: rows}}); len(got) != 1_000_000 {
			b.Fatal(len(got))
		}
	}
}
