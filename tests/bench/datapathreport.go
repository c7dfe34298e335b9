package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"weir/tests/document"
)

// datapathReport is what a run has shown, as Markdown and as a plot.
type datapathReport struct {
	datapathOptions
	rows  []*row
	warm  []warmRow
	table tableFigures
}

// Marks between which the tables stand, and the plot's file beside it.
const (
	datapathBegin = "<!-- bench-datapath writes what follows -->\n"
	datapathEnd   = "<!-- bench-datapath wrote what stands above -->\n"
	datapathPlot  = "datapath.svg"
)

func (r *datapathReport) update(path string) error {
	picture := filepath.Join(filepath.Dir(path), datapathPlot)
	if err := os.WriteFile(picture, []byte(r.plot()), 0o644); err != nil {
		return err
	}
	return document.Replace(path, datapathBegin, datapathEnd, r.String())
}

func (r *datapathReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d cores (%s), %s. Medians of %d runs of %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuName(), kernel(), r.runs, r.length)
	r.writeRows(&b)
	b.WriteString("\n![Packets a second against the number of flagged sources](" + datapathPlot + ")\n\n")
	r.writeWarm(&b)
	b.WriteString("\n")
	r.writeTable(&b)
	return b.String()
}

func (r *datapathReport) writeRows(b *strings.Builder) {
	b.WriteString("| what judges | what it does | flagged | million packets/s | of the empty program | ns more a packet | judged of those sent |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, row := range r.rows {
		if row.missing != "" {
			fmt.Fprintf(b, "| %s | %s | %s | **NOT MEASURED: %s** | | | |\n", row.contender, row.what, flagged(row.flagged), oneLine(row.missing))
			continue
		}
		ratio, more := "1", "0"
		if row.base != nil {
			ratio = fmt.Sprintf("%.2f", row.beside(func(rate, base float64) float64 { return rate / base }))
			more = fmt.Sprintf("%d", int(math.Round(row.beside(func(rate, base float64) float64 { return 1e9/rate - 1e9/base }))))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.2f | %s | %s | %.1f %% |\n", row.contender, row.what, flagged(row.flagged), row.rate()/1e6, ratio, more,
			100*median(row.runs, func(p pace) float64 { return p.part }))
	}
}

func (r *datapathReport) writeWarm(b *strings.Builder) {
	b.WriteString("| program | what it does | flagged | ns/packet | of the empty program |\n")
	b.WriteString("| --- | --- | --- | --- | --- |\n")
	for _, w := range r.warm {
		if w.missing != "" {
			fmt.Fprintf(b, "| %s | | | **NOT MEASURED: %s** | |\n", w.program, w.missing)
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.0f | %.2f |\n", w.program, w.what, flagged(w.flagged), w.ns, w.ns/r.warm[0].ns)
	}
}

func (r *datapathReport) writeTable(b *strings.Builder) {
	b.WriteString("| the table | |\n| --- | --- |\n")
	fmt.Fprintf(b, "| putting %s IPv4 sources into an empty one | %.0f ms |\n", thousands(int64(r.table.filled)), r.table.fill.Seconds()*1e3)
	fmt.Fprintf(b, "| putting one more, until it is in force: median, 99th percentile | %.1f µs, %.1f µs |\n", micros(r.table.one), micros(r.table.worst))
	for _, m := range r.table.memory {
		fmt.Fprintf(b, "| kernel memory of %s IPv4 sources, of as many /64s | %.1f MB (%.0f bytes each), %.1f MB (%.0f bytes each) |\n",
			thousands(int64(m.flagged)), float64(m.four)/1e6, m.four1, float64(m.six)/1e6, m.six1)
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// flagged writes a number of sources, or that there are none.
func flagged(n uint32) string {
	if n == 0 {
		return "–"
	}
	return thousands(int64(n))
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "|", "/")), " ")
}

func (r *row) rate() float64 { return median(r.runs, func(p pace) float64 { return p.rate }) }

// beside compares with the empty program in the same round, so that what
// slowed a round down slowed both, and returns the median.
func (r *row) beside(compare func(rate, base float64) float64) float64 {
	list := make([]float64, len(r.runs))
	for i := range r.runs {
		list[i] = compare(r.runs[i].rate, r.base.runs[i].rate)
	}
	return median(list, func(f float64) float64 { return f })
}

func median[T any](list []T, of func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = of(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
