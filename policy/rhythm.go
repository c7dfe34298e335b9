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

// beats is the times of somebody's latest failures at a source, the latest
// first; 0 is none.
type beats [12]int64

// note puts a time before the others.
func (b *beats) note(at int64) {
	copy(b[1:], b[:len(b)-1])
	b[0] = at
}

// every returns the interval at which the failures came, 0 if they are not a
// device's.
func (b *beats) every() int64 {
	gap := b[0] - b[1]
	switch {
	case b[3] == 0:
	case steadyGaps(b[1]-b[2], gap) && steadyGaps(b[2]-b[3], gap):
		return gap
	case b[braidLeast-1] != 0:
		return b.braid()
	}
	return 0
}

// Where failures have no names, two devices look like one that is not steady.
// What a guesser does can be taken for them by chance, so they have to account
// for all but one of the latest failures, and for so many at least.
const (
	braidLeast = 9
	braidStray = 1
	braidShort = 3 // failures, of one of the devices
)

// braid returns the interval at which the latest failure and those before it
// came, if all were those of two devices, else 0.
func (b *beats) braid() (every int64) {
	n := len(b)
	for b[n-1] == 0 {
		n--
	}
	var taken [len(b)]bool
	left := n
	for range 2 {
		first := 0
		for first < n && taken[first] {
			first++
		}
		strand, gap := b.strand(first, n, &taken)
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
func (b *beats) strand(first, n int, taken *[len(beats{})]bool) (longest uint, every int64) {
	most := braidShort - 1
	for second := first + 1; second < n; second++ {
		gap := b[first] - b[second]
		if taken[second] || gap > int64(steadyHigh) || !steadyGaps(gap, gap) {
			continue
		}
		row, last, length := uint(1<<first|1<<second), second, 2
		for i := second + 1; i < n; i++ {
			if !taken[i] && steadyGaps(b[last]-b[i], gap) {
				row, last, length = row|1<<i, i, length+1
			}
		}
		if b[last]-b[n-1] < gap+gap/20 && length > most {
			longest, every, most = row, gap, length
		}
	}
	return longest, every
}
