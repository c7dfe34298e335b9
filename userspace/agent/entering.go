package agent

import (
	"sync"
	"time"

	"weir/policy"
)

// restoreChunk is how many decisions enter the ledger at once.
const restoreChunk = 1024

// entering has the ledger take in chunks of decisions beside whoever reads
// them. put gives it one and returns another that is empty; done waits until
// it has all of them.
func (c *core) entering(now time.Time) (put func([]policy.Decision) []policy.Decision, done func()) {
	const ahead = 8
	full, empty := make(chan []policy.Decision, ahead), make(chan []policy.Decision, ahead+1)
	for range ahead {
		empty <- make([]policy.Decision, 0, restoreChunk)
	}
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		for chunk := range full {
			c.ledger.Put(now, chunk...)
			empty <- chunk[:0]
		}
	}()
	put = func(chunk []policy.Decision) []policy.Decision { full <- chunk; return <-empty }
	return put, sync.OnceFunc(func() { close(full); <-entered })
}
