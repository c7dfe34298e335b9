package intake

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A random history of writing, rotating and restarting delivers every line
// once, in order, whatever position is returned to.
func TestFollowRandom(t *testing.T) {
	runs := 100
	if testing.Short() {
		runs = 20
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomHistory(t, uint64(seed)) })
	}
}

type checkpoint struct {
	after Position
	lines int
}

func randomHistory(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHost(t)
	h.style([]string{"numbers", "dates", "extension"}[r.IntN(3)])
	h.o.MaxLine = 64 << 10
	n := 0
	line := func() string {
		n++
		size := r.IntN(80)
		if r.IntN(30) == 0 {
			size = r.IntN(7 << 10)
		}
		return fmt.Sprintf("%d %s", n, strings.Repeat(string(rune('a'+r.IntN(26))), size))
	}
	moved := false // the log was renamed and the writer does not know
	rotations := 0
	h.write(line())
	h.poll()
	saved := []checkpoint{{h.last, 1}}
	for range 150 {
		h.tick()
		switch op := r.IntN(20); {
		case op < 7:
			for range 1 + r.IntN(20) {
				h.write(line())
			}
		case op < 8:
			h.begin(line())
		case op < 9 && rotations < 12:
			if h.part == "" && !moved {
				h.copyTruncate()
				rotations++
			}
		case op < 11 && rotations < 12:
			if !moved {
				h.rename(r.IntN(2) == 0)
				moved = true
				rotations++
			}
		case op < 13:
			if h.part != "" {
				h.write(line())
			}
			h.reopen()
			moved = false
		case op < 14:
			if !moved {
				h.compress(1 + r.IntN(3))
			} else {
				h.compress(2 + r.IntN(3))
			}
		case op < 18:
			h.poll()
			if h.last != saved[len(saved)-1].after {
				saved = append(saved, checkpoint{h.last, len(h.got)})
			}
		default:
			h.stop()
			saved = saved[:max(1, len(saved)-r.IntN(4))]
			back := saved[len(saved)-1]
			h.last, h.got = back.after, h.got[:back.lines]
		}
	}
	if h.part != "" {
		h.write(line())
	}
	h.reopen()
	h.write(line())
	h.check()
	if h.lost() != 0 {
		t.Errorf("losses counted though nothing was lost: %+v", h.m.stats())
	}
}
