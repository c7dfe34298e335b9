package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// Column is one contender's scores, of the same seeds as all others'.
type Column struct {
	Name    string
	Scores  []*Score
	Missing string // why there are none
	Brief   bool   // only the median is of interest
}

// each returns a figure of every score, sorted.
func (c *Column) each(of func(*Score) float64) (list []float64) {
	for _, s := range c.Scores {
		list = append(list, of(s))
	}
	slices.Sort(list)
	return list
}

// of returns a figure of a party in every score in which it had items, sorted.
func (c *Column) of(party string, figure func(*Tally) float64) (list []float64) {
	for _, s := range c.Scores {
		for i := range s.Tallies {
			if t := &s.Tallies[i]; t.Name == party && t.Items > 0 {
				list = append(list, figure(t))
			}
		}
	}
	slices.Sort(list)
	return list
}

func median(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percent writes a share with as many digits as it deserves.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0"
	case p < 0.01:
		return "<0.01"
	case p < 2:
		return fmt.Sprintf("%.2f", p)
	default:
		return fmt.Sprintf("%.1f", p)
	}
}

// shown are those of a row's cells that are of interest.
func (c *Column) shown(cells []string) []string {
	if c.Brief {
		return cells[:1]
	}
	return cells
}

// Table writes the columns as Markdown: for each party the median over the
// seeds and the worst, and for attacks the items lost before the first that
// was stopped.
func Table(parties []Party, columns []Column) string {
	var b strings.Builder
	head := func(first string, cells ...string) {
		fmt.Fprintf(&b, "| %s |", first)
		n := 1
		for _, c := range columns {
			for _, cell := range c.shown(append([]string{c.Name}, cells...)) {
				fmt.Fprintf(&b, " %s |", cell)
				n++
			}
		}
		b.WriteString("\n|" + strings.Repeat(" --- |", n) + "\n")
	}
	row := func(name string, cells func(*Column) []string) {
		fmt.Fprintf(&b, "| %s |", name)
		for i := range columns {
			for _, cell := range columns[i].shown(cells(&columns[i])) {
				fmt.Fprintf(&b, " %s |", cell)
			}
		}
		b.WriteString("\n")
	}
	summary := func(name string, low bool, of func(*Score) float64) {
		row(name, func(c *Column) []string {
			if c.Missing != "" {
				return []string{"–", c.Missing}
			}
			list := c.each(of)
			return []string{percent(median(list)), percent(worst(list, low))}
		})
	}
	head("%", "worst")
	summary("**attacks stopped, mean over attacks**", true, (*Score).Stopped)
	summary("**good items refused**", false, (*Score).Refused)
	summary("**worst good party refused**", false, func(s *Score) float64 { w := s.Worst(); return w.Share() })

	b.WriteString("\n")
	head("% of an attack's items stopped", "worst", "lost first")
	for _, p := range parties {
		if p.Bad {
			row(p.Name, func(c *Column) []string {
				list := c.of(p.Name, (*Tally).Share)
				lost := median(c.of(p.Name, func(t *Tally) float64 { return float64(t.Lost) }))
				return []string{percent(median(list)), percent(worst(list, true)), fmt.Sprintf("%.0f", lost)}
			})
		}
	}
	b.WriteString("\n")
	head("% of a good party's items refused", "worst")
	for _, p := range parties {
		if !p.Bad {
			row(p.Name, func(c *Column) []string {
				list := c.of(p.Name, (*Tally).Share)
				return []string{percent(median(list)), percent(worst(list, false))}
			})
		}
	}
	return b.String()
}

// worst is the lowest or the highest of a sorted list.
func worst(sorted []float64, low bool) float64 {
	switch {
	case len(sorted) == 0:
		return 0
	case low:
		return sorted[0]
	}
	return sorted[len(sorted)-1]
}
