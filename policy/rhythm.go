package policy

import "time"

// Rhythm of a device that fails again and again without anybody's doing.
const (
	steadyLow  = 40 * time.Second
	steadyHigh = 5 * time.Minute
	steadyTop  = 90 * time.Minute
)

// steadyGaps reports whether two intervals are a device's. Three in a row that
// are alike are no chance.
func steadyGaps(a, b int64) bool {
	return b >= int64(steadyLow) && b <= int64(steadyTop) && max(a-b, b-a) <= max(b/20, int64(2*time.Second))
}

// beats gathers the times of somebody's failures at a source, of which it keeps
// the latest.
type beats struct {
	ring  latest
	noted int
}

// latest is times, the latest first; 0 is none.
type latest [12]int64

// note adds a time. One that is before the others makes no rhythm with them.
func (b *beats) note(at int64) {
	b.ring[b.noted%len(b.ring)] = at
	b.noted++
}

// every returns the interval at which the failures came, 0 if they are not a
// device's, or those of two devices where they are nameless, and how many of the
// latest keep to it.
func (b *beats) every(nameless bool) (every int64, row int) {
	if b.noted < steadyLeast {
		return 0, 0
	}
	var t latest
	n := min(b.noted, len(t))
	for i := range n {
		t[i] = b.ring[(b.noted-1-i)%len(t)]
	}
	gap := t[0] - t[1]
	row = 2
	for row < n && steadyGaps(t[row-1]-t[row], gap) {
		row++
	}
	switch {
	case row >= steadyLeast:
		return gap, row
	case nameless && n >= braidLeast:
		if gap = t.braid(n); gap != 0 {
			return gap, n
		}
	}
	return 0, 0
}

// steadyLeast is how many failures make a rhythm.
const steadyLeast = 4

// Where failures have no names, two devices look like one that is not steady.
// What a guesser does can be taken for them by chance, so they have to account
// for all but one of the latest failures, and for so many at least.
const (
	braidLeast = 9
	braidStray = 1
	braidShort = 3 // failures, of one of the devices
)

// braid returns the interval at which the latest of n failures and some before
// it came, if all were those of two devices, else 0.
func (t *latest) braid(n int) (every int64) {
	var taken [len(t)]bool
	left := n
	for range 2 {
		first := 0
		for first < n && taken[first] {
			first++
		}
		strand, gap := t.strand(first, n, &taken)
		if gap == 0 {
			break
		}
		if first == 0 {
			every = gap
		}
		for i := range n {
			if strand&(1<<i) != 0 {
				taken[i] = true
				left--
			}
		}
	}
	if left > braidStray {
		return 0
	}
	return every
}

// strand returns the longest row of equal intervals that goes back from one
// failure through those that are not taken to the oldest of n, a bit for each,
// and the interval; 0 if there is none.
func (t *latest) strand(first, n int, taken *[len(latest{})]bool) (longest uint, every int64) {
	most := braidShort - 1
	for second := first + 1; second < n; second++ {
		gap := t[first] - t[second]
		if taken[second] || gap > int64(steadyHigh) || !steadyGaps(gap, gap) {
			continue
		}
		row, last, length := uint(1<<first|1<<second), second, 2
		for i := second + 1; i < n; i++ {
			if !taken[i] && steadyGaps(t[last]-t[i], gap) {
				row, last, length = row|1<<i, i, length+1
			}
		}
		if t[last]-t[n-1] < gap+gap/20 && length > most {
			longest, every, most = row, gap, length
		}
	}
	return longest, every
}
