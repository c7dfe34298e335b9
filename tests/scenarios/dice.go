package scenarios

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// dice are the chance of one party. Each party has its own, so that a change
// to one leaves all others as they were.
type dice struct{ *rand.Rand }

func newDice(seed uint64, name string) dice {
	h := fnv.New64a()
	h.Write([]byte(name))
	return dice{rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// between returns a number from a to b.
func (d dice) between(a, b int) int { return a + d.IntN(b-a+1) }

// wide returns a number from a to b, as likely between 10 and 20 as between
// 100 and 200.
func (d dice) wide(a, b int) int {
	return min(b, int(float64(a)*math.Exp(d.Float64()*math.Log(float64(b+1)/float64(a)))))
}

// span returns a duration from a to b.
func (d dice) span(a, b time.Duration) time.Duration {
	return a + time.Duration(d.Int64N(int64(b-a)+1))
}

// wideSpan is to span what wide is to between.
func (d dice) wideSpan(a, b time.Duration) time.Duration {
	return min(b, time.Duration(float64(a)*math.Exp(d.Float64()*math.Log(float64(b)/float64(a)))))
}

// wait returns how long it is until the next of something that happens every
// mean on the average, and no sooner or later for what went before.
func (d dice) wait(mean time.Duration) time.Duration {
	return time.Duration(d.ExpFloat64() * float64(mean))
}

// jitter returns t give or take a share of it.
func (d dice) jitter(t time.Duration, share float64) time.Duration {
	return time.Duration(float64(t) * (1 + share*(2*d.Float64()-1)))
}

// chance is true p times out of a hundred.
func (d dice) chance(p int) bool { return d.IntN(100) < p }

func pick[T any](d dice, list []T) T { return list[d.IntN(len(list))] }

// some returns n different ones of a list, or all of it.
func some[T any](d dice, list []T, n int) []T {
	var out []T
	for _, i := range d.Perm(len(list))[:min(n, len(list))] {
		out = append(out, list[i])
	}
	return out
}
