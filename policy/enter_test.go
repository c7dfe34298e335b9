package policy

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestEnterIsPut enters the same into two ledgers.
func TestEnterIsPut(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	put, entered := NewLedger(), NewLedger()
	now := time.Unix(1_700_000_000, 0)
	entered.Expect(100)
	for range 200 {
		var some []Decision
		for range 1 + rng.IntN(20) {
			d := Decision{Target: Target{Prefix: randomPrefix(rng)}, Pinned: rng.IntN(4) == 0, Since: now,
				Action: []Action{Allow, Limit, Tarpit, Drop, Release}[rng.IntN(5)], Until: now.Add(time.Duration(rng.IntN(500)-20) * 100 * time.Millisecond)}
			if d.Pinned && rng.IntN(2) == 0 {
				d.Until = time.Time{}
			}
			if rng.IntN(5) == 0 {
				d.Target = Target{User: "user" + strconv.Itoa(rng.IntN(20))}
			}
			some = append(some, d)
		}
		put.Put(now, some...)
		entered.Enter(now, some)
		now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
		ended, changes := put.Expire(now)
		ended2, changes2 := entered.Expire(now)
		if !reflect.DeepEqual(ended, ended2) || !reflect.DeepEqual(changes, changes2) {
			t.Fatalf("ended %v and %v, changes %v and %v", ended, ended2, changes, changes2)
		}
		if !slices.EqualFunc(slices.Collect(put.All()), slices.Collect(entered.All()), func(a, b *Decision) bool { return reflect.DeepEqual(a, b) }) ||
			!slices.EqualFunc(slices.Collect(put.InForce()), slices.Collect(entered.InForce()), func(a, b *Decision) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatal("the two ledgers differ")
		}
	}
}
