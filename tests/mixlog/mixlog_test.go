package mixlog

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"weir/policy"
	"weir/userspace/maillog"
)

// mustLines is how many lines the tests read: WEIR_MIXLOG_LINES, or fewer.
func mustLines(t *testing.T, short uint64) uint64 {
	t.Helper()
	text := os.Getenv("WEIR_MIXLOG_LINES")
	if text == "" {
		return short
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("WEIR_MIXLOG_LINES: %v", err)
	}
	return n
}

func mustGenerator(t testing.TB, o Options) *Generator {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What the parser reads in a log is what was done, event by event.
func TestParserTellsTheTruth(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			o := DefaultOptions()
			o.Seed, o.Lines = seed, mustLines(t, 100_000)
			o.Traditional = seed%2 == 1
			zone := time.UTC
			if seed >= 2 {
				zone = time.FixedZone("", 2*60*60)
				o.Start = o.Start.In(zone)
			}
			options := maillog.Options{Location: zone, Reference: o.Start.AddDate(0, 0, 1)}
			byLine, byMessage := maillog.NewParser(options), maillog.NewParser(options)
			g := mustGenerator(t, o)
			wrong, told := 0, 0
			var got []policy.Event
			for g.Next() && wrong < 10 {
				r := g.Record()
				told += len(r.Events)
				got = byLine.Line(r.Line, r.Number, got[:0])
				wrong += compare(t, "Line", r, got)
				got = byMessage.Message(r.Time, r.Host, r.Program, r.PID, r.Text, r.Number, got[:0])
				wrong += compare(t, "Message", r, got)
			}
			if s := byLine.Stats(); s.NotUnderstood != 0 {
				t.Errorf("%d lines not understood, such as %s", s.NotUnderstood, s.Sample)
			}
			if told == 0 {
				t.Error("nothing has happened")
			}
		})
	}
}

func compare(t *testing.T, how string, r *Record, got []policy.Event) (wrong int) {
	t.Helper()
	same := len(got) == len(r.Events)
	for i := range got {
		same = same && got[i] == r.Events[i]
	}
	if same {
		return 0
	}
	t.Errorf("%s, line %d: %s\n got %v\nwant %v", how, r.Number, r.Line, got, r.Events)
	return 1
}

func TestSameOptionsSameBytes(t *testing.T) {
	write := func(seed uint64) []byte {
		o := DefaultOptions()
		o.Seed, o.Lines = seed, 5000
		var b bytes.Buffer
		for g := mustGenerator(t, o); g.Next(); {
			b.Write(g.Record().Line)
			fmt.Fprintln(&b, g.Record().Events)
		}
		return b.Bytes()
	}
	if !bytes.Equal(write(1), write(1)) {
		t.Error("the same seed gives two logs")
	}
	if bytes.Equal(write(1), write(2)) {
		t.Error("two seeds give the same log")
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Options){
		"no time":         func(o *Options) { o.Start = time.Time{} },
		"no rate":         func(o *Options) { o.Rate = 0 },
		"few accounts":    func(o *Options) { o.Accounts = 1 },
		"many bots":       func(o *Options) { o.Bots = 1e6 },
		"nothing happens": func(o *Options) { o.Weights = Weights{} },
		"negative weight": func(o *Options) { o.Weights.Typo = -1 },
		"no hosts":        func(o *Options) { o.Servers = Servers{} },
		"negative share":  func(o *Options) { o.Servers.Exim = -1 },
	} {
		o := DefaultOptions()
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkGenerator(b *testing.B) {
	o := DefaultOptions()
	o.Lines = 1 << 62
	g := mustGenerator(b, o)
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		g.Next()
		bytes += len(g.Record().Line) + 1
	}
	b.SetBytes(int64(bytes / b.N))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
