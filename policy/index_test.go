package policy

import (
	"math/rand/v2"
	"testing"
)

// The index holds what a map holds, with hashes that collide and tables that
// wrap around.
func TestIndexIsAMap(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var x index
		hashes := map[uint32]uint32{} // by number
		for step := range 3000 {
			n := uint32(1 + rng.IntN(200))
			if h, in := hashes[n]; in {
				x.remove(h, n)
				delete(hashes, n)
			} else {
				h := ^uint32(0) - uint32(rng.IntN(60))
				x.put(h, n)
				hashes[n] = h
			}
			if x.used != len(hashes) {
				t.Fatalf("seed %d, step %d: %d used, want %d", seed, step, x.used, len(hashes))
			}
			for n, h := range hashes {
				if !found(&x, h, n) {
					t.Fatalf("seed %d, step %d: %d is lost", seed, step, n)
				}
			}
		}
		for n, h := range hashes {
			x.remove(h, n)
			if found(&x, h, n) {
				t.Fatalf("seed %d: %d is still there", seed, n)
			}
		}
	}
}

func found(x *index, h, n uint32) bool {
	for at := h; ; {
		switch x.probe(h, &at) {
		case n:
			return true
		case 0:
			return false
		}
	}
}
