package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Size of the plot, and of the field in it.
const (
	plotWidth, plotHeight           = 720, 400
	fieldLeft, fieldTop             = 56, 24
	fieldRight, fieldBottom         = 520, 344
	labelGap                float64 = 15
)

const plotStyle = `<style>
text { font: 12px sans-serif; fill: #24292f; }
.grid { stroke: #d0d7de; }
.empty { stroke: #57606a; stroke-dasharray: 5 4; fill: none; }
.c0 { --c: #0550ae; } .c1 { --c: #1a7f9e; } .c2 { --c: #bc4c00; } .c3 { --c: #9a6700; } .c4 { --c: #8250df; } .c5 { --c: #1a7f37; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.grid { stroke: #30363d; }
.empty { stroke: #8b949e; }
.c0 { --c: #58a6ff; } .c1 { --c: #56d4dd; } .c2 { --c: #ffa657; } .c3 { --c: #e3b341; } .c4 { --c: #d2a8ff; } .c5 { --c: #56d364; }
}
.line { stroke: var(--c); stroke-width: 2; fill: none; }
.dot, .name { fill: var(--c); }
</style>
`

// series is one line of the plot.
type series struct {
	name   string
	points []point
}

type point struct{ sources, rate float64 }

func (r *datapathReport) series() (list []series) {
	for _, row := range r.rows {
		if row.plotted == "" || row.missing != "" {
			continue
		}
		at := slices.IndexFunc(list, func(s series) bool { return s.name == row.plotted })
		if at < 0 {
			at, list = len(list), append(list, series{name: row.plotted})
		}
		list[at].points = append(list[at].points, point{float64(row.flagged), row.rate()})
	}
	return list
}

// plot draws the rate against the number of flagged sources.
func (r *datapathReport) plot() string {
	list, empty := r.series(), r.rows[0].rate()
	most, top := 1.0, empty
	for _, s := range list {
		for _, p := range s.points {
			most, top = max(most, p.sources), max(top, p.rate)
		}
	}
	top = math.Ceil(top / 1e6)
	x := func(sources float64) float64 {
		return fieldLeft + (fieldRight-fieldLeft)*math.Log10(sources)/max(math.Log10(most), 1)
	}
	y := func(rate float64) float64 { return fieldBottom - (fieldBottom-fieldTop)*rate/1e6/top }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Packets a second against the number of flagged sources">`+"\n",
		plotWidth, plotHeight, plotWidth, plotHeight)
	b.WriteString(plotStyle)
	for million := 0.0; million <= top; million++ {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			fieldLeft, y(million*1e6), fieldRight, fieldLeft-8, y(million*1e6)+4, million)
	}
	for sources := 1.0; sources <= most; sources *= 10 {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x(sources), fieldBottom, fieldBottom+5, x(sources), fieldBottom+20, thousands(int64(sources)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="14">million packets/s dropped, of random flagged sources, one core</text><text x="%d" y="%d" text-anchor="middle">flagged sources</text>`+"\n",
		fieldLeft-20, (fieldLeft+fieldRight)/2, plotHeight-14)
	fmt.Fprintf(&b, `<path class="empty" d="M%d %.1fH%d"/>`+"\n", fieldLeft, y(empty), fieldRight)
	for i, s := range list {
		b.WriteString(drawn(s, i, x, y))
	}
	names := []label{{name: "empty program", at: y(empty)}}
	for i, s := range list {
		end := s.points[len(s.points)-1]
		l := label{s.name, fmt.Sprintf("name c%d", i), y(end.rate)}
		if len(s.points) == 1 && end.sources < most { // a dot far from where lines end
			b.WriteString(l.draw(x(end.sources) + labelGap/2))
			continue
		}
		names = append(names, l)
	}
	for _, l := range apart(names) {
		b.WriteString(l.draw(fieldRight + labelGap))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func drawn(s series, i int, x, y func(float64) float64) string {
	var line, dots strings.Builder
	for at, p := range s.points {
		command := "L"
		if at == 0 {
			command = "M"
		}
		fmt.Fprintf(&line, "%s%.1f %.1f", command, x(p.sources), y(p.rate))
		fmt.Fprintf(&dots, `<circle class="dot" cx="%.1f" cy="%.1f" r="3.5"/>`, x(p.sources), y(p.rate))
	}
	return fmt.Sprintf(`<g class="c%d"><path class="line" d="%s"/>%s</g>`+"\n", i, line.String(), dots.String())
}

// label is the name at a line's end.
type label struct {
	name, class string
	at          float64
}

func (l label) draw(x float64) string {
	return fmt.Sprintf(`<text class="%s" x="%.1f" y="%.1f">%s</text>`+"\n", l.class, x, l.at+4, l.name)
}

// apart moves names down where they would overlap.
func apart(names []label) []label {
	slices.SortFunc(names, func(a, b label) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(names); i++ {
		names[i].at = max(names[i].at, names[i-1].at+labelGap)
	}
	return names
}
