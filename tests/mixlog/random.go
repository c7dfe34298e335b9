package mixlog

// random is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
// number generators, 2014): a few instructions, and the same everywhere.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() >> 32 * uint64(n) >> 32) }

// between returns a number from a to b.
func (r *random) between(a, b int) int { return a + r.below(b-a+1) }

// float returns a number in [0, 1).
func (r *random) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// chance is true p times out of a hundred.
func (r *random) chance(p int) bool { return r.below(100) < p }

// skewed returns a number from 0 to n-1, small ones more often: the mean is a
// quarter of n.
func (r *random) skewed(n int) int { return r.below(r.below(n) + 1) }

// pick returns one of a list.
func pick[T any](r *random, list []T) T { return list[r.below(len(list))] }

// weighted returns an index into cumulated weights.
func (r *random) weighted(cumulated []float64) int {
	x := r.float() * cumulated[len(cumulated)-1]
	i := 0
	for i < len(cumulated)-1 && x >= cumulated[i] {
		i++
	}
	return i
}

func cumulate(weights []float64) []float64 {
	sums := make([]float64, len(weights))
	sum := 0.0
	for i, w := range weights {
		sum += w
		sums[i] = sum
	}
	return sums
}
