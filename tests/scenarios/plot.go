package scenarios

import (
	"fmt"
	"strings"
)

// Measures of the plot: a row for each party, in two fields side by side.
const (
	plotWidth   = 900
	plotRow     = 24
	plotTop     = 56
	plotNames   = 140
	plotField   = 270
	plotBetween = 40
)

const plotStyle = `<style>
text { font: 12px sans-serif; fill: #24292f; }
.head { font-weight: bold; }
.grid { stroke: #d0d7de; }
.c0 { fill: #0550ae; } .c1 { fill: #bc4c00; } .c2 { fill: #8250df; } .c3 { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.grid { stroke: #30363d; }
.c0 { fill: #58a6ff; } .c1 { fill: #ffa657; } .c2 { fill: #d2a8ff; } .c3 { fill: #56d364; }
}
</style>
`

// mark draws a contender's figure; each has a shape of its own, so that it can
// be told without its colour.
func mark(i int, x, y float64) string {
	switch i {
	case 0:
		return fmt.Sprintf(`<circle class="c0" cx="%.1f" cy="%.1f" r="4.5"/>`, x, y)
	case 1:
		return fmt.Sprintf(`<path class="c1" d="M%.1f %.1fh8v8h-8z"/>`, x-4, y-4)
	case 2:
		return fmt.Sprintf(`<path class="c2" d="M%.1f %.1fl4.6 8h-9.2z"/>`, x, y-4.5)
	}
	return fmt.Sprintf(`<path class="c3" d="M%.1f %.1fl4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>`, x, y-4.5)
}

// Plot draws the medians: how much of each attack is stopped, and how much of
// each good party refused.
func Plot(parties []Party, columns []Column) string {
	var bad, good []Party
	for _, p := range parties {
		if p.Bad {
			bad = append(bad, p)
		} else {
			good = append(good, p)
		}
	}
	height := plotTop + plotRow*max(len(bad), len(good)) + 30
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="What was stopped of each attack, and refused of each good party">`+"\n",
		plotWidth, height, plotWidth, height)
	b.WriteString(plotStyle)
	x := 10.0
	for i, c := range columns {
		fmt.Fprintf(&b, `%s<text x="%.0f" y="18">%s</text>`+"\n", mark(i, x+6, 14), x+18, c.Name)
		x += 44 + 6.5*float64(len(c.Name))
	}
	field(&b, 0, "of an attack's items, stopped", bad, columns)
	field(&b, plotNames+plotField+plotBetween, "of a good party's items, refused", good, columns)
	b.WriteString("</svg>\n")
	return b.String()
}

func field(b *strings.Builder, left int, head string, parties []Party, columns []Column) {
	x := func(share float64) float64 { return float64(left+plotNames) + plotField*share }
	bottom := plotTop + plotRow*len(parties)
	fmt.Fprintf(b, `<text class="head" x="%.0f" y="%d">%% %s</text>`+"\n", x(0), plotTop-14, head)
	for p := 0; p <= 100; p += 25 {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %dV%d"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n",
			x(float64(p)/100), plotTop, bottom, x(float64(p)/100), bottom+18, p)
	}
	for i, p := range parties {
		y := float64(plotTop+plotRow*i) + plotRow/2
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text><path class="grid" d="M%.1f %.1fH%.1f"/>`+"\n", left+plotNames-10, y+4, p.Name, x(0), y, x(1))
		for c := len(columns) - 1; c >= 0; c-- { // the first on top
			if list := columns[c].of(p.Name, (*Tally).Share); len(list) > 0 {
				apart := 5 * (float64(c) - float64(len(columns)-1)/2)
				b.WriteString(mark(c, x(median(list)), y+apart) + "\n")
			}
		}
	}
}
