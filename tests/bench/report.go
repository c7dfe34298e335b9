package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/tests/document"
)

// report is what a run has shown, as Markdown.
type report struct {
	head, rows strings.Builder
	memory     []memoryRow
}

type memoryRow struct {
	lines uint64
	peak  int64
}

func table(contenders []*contender, l *logs, o options) *report {
	r := &report{}
	fmt.Fprintf(&r.head, "%s; %d cores (%s), %s, %s. The log: %s lines, %s MB, %s failed logins; the slow ones read its first %s lines. Medians of %d runs; load average %s before them.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuName(), kernel(), runtime.Version(),
		thousands(int64(l.whole.lines)), thousands(l.whole.bytes/1e6), thousands(int64(l.whole.truth.sum())), thousands(int64(l.sample.lines)), o.runs, l.load)
	if o.realtime {
		r.head.WriteString("The contenders that read the whole log had their cores to themselves (`-realtime`); of the others only the figures of CPU time and memory mean something.\n\n")
	} else if load, err := strconv.ParseFloat(l.load, 64); err == nil && load > 0.5 {
		r.head.WriteString("**Other programs used the machine meanwhile: only the figures of CPU time and memory mean something.**\n\n")
	}
	r.rows.WriteString("| | cores | lines/s | lines a CPU second | of weir's | peak MB | failed logins found | counted besides |\n")
	r.rows.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	weir := 0.0
	for _, c := range contenders {
		if c.name == "weir replay" && c.cores == 1 && c.missing == "" {
			weir = c.perCPU(l)
		}
	}
	for _, c := range contenders {
		name := c.name
		if c.version != "" {
			name += " (" + c.version + ")"
		}
		if c.missing != "" {
			fmt.Fprintf(&r.rows, "| %s | %d | **NOT MEASURED: %s** | | | | | |\n", name, c.cores, c.missing)
			continue
		}
		log, u := l.of(c), c.median()
		ratio := "–"
		if weir > 0 {
			ratio = fmt.Sprintf("%.3g", c.perCPU(l)/weir)
		}
		found, beside := "–", "–"
		if c.told != nil {
			found = fmt.Sprintf("%s of %s", thousands(int64(c.found)), thousands(int64(log.truth.sum())))
			beside = thousands(int64(c.beside))
		}
		fmt.Fprintf(&r.rows, "| %s | %d | %s | %s | %s | %.1f | %s | %s |\n", name, c.cores, thousands(int64(float64(log.lines)/u.wall.Seconds())),
			thousands(int64(c.perCPU(l))), ratio, float64(u.peak)/1e6, found, beside)
	}
	return r
}

func (r *report) String() string {
	text := r.head.String() + r.rows.String()
	if len(r.memory) > 0 {
		text += "\n| lines read by weir replay | peak MB |\n| --- | --- |\n"
		for _, m := range r.memory {
			text += fmt.Sprintf("| %s | %.1f |\n", thousands(int64(m.lines)), float64(m.peak)/1e6)
		}
	}
	return text
}

// perCPU is how many lines the contender reads in a second of one CPU's time,
// whoever else uses the machine.
func (c *contender) perCPU(l *logs) float64 {
	return float64(l.of(c).lines) / c.median().cpu.Seconds()
}

// Marks between which update writes.
const (
	begin = "<!-- bench-intake writes what follows -->\n"
	end   = "<!-- bench-intake wrote what stands above -->\n"
)

func update(path, text string) error { return document.Replace(path, begin, end, text) }

func kernel() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return "unknown kernel"
	}
	var b strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return "Linux " + b.String()
}

// loadAverage is that of the last minute (proc(5)).
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func cpuName() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// thousands writes n with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
