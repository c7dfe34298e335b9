package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// floodReport is what a run has shown, as Markdown.
type floodReport struct {
	floodOptions
	rows []*floodRow
	load string // of the machine at the end
}

// Marks between which the table stands.
const (
	floodBegin = "<!-- bench-flood writes what follows -->\n"
	floodEnd   = "<!-- bench-flood wrote what stands above -->\n"
)

func (r *floodReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d cores (%s), %s. %s flagged sources; rows of %s; load average %s at the end.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuName(), kernel(), thousands(int64(r.sources)), r.length, r.load)
	b.WriteString("| before the mail server | flood, million frames/s: offered | sent | dealt with | greetings | median | p99 | mails of 1 MiB | median | p99 |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, row := range r.rows {
		if row.missing != "" {
			fmt.Fprintf(&b, "| %s | %s | **NOT MEASURED: %s** | | | | | | | |\n", row.contender, row.offered(), oneLine(row.missing))
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.contender, row.offered(),
			millionth(row.made), row.answer(), row.greetings, row.mails)
	}
	return b.String()
}

// offered is the flood as it was meant.
func (r *floodRow) offered() string {
	switch {
	case !r.flood:
		return "–"
	case r.rate == 0:
		return "all a core makes"
	}
	return fmt.Sprintf("%.2f", r.rate/1e6)
}

// answer is what the flood met: refusals, or the server, which sends cookies.
func (r *floodRow) answer() string {
	if r.flood && r.open {
		return fmt.Sprintf("%s come in, %s SYN cookies", millionth(r.judged), thousands(int64(r.cookies)))
	}
	if !r.flood {
		return "–"
	}
	return millionth(r.judged)
}

func millionth(rate float64) string {
	if rate == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", rate/1e6)
}

func (t tries) String() string {
	if len(t.took) == 0 {
		return fmt.Sprintf("0 of %d | – | –", t.failed)
	}
	return fmt.Sprintf("%.1f %% of %d | %s | %s", t.share(), len(t.took)+t.failed, briefly(t.at(0.5)), briefly(t.at(0.99)))
}

// briefly has three digits.
func briefly(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.3g ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}
