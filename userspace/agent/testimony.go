package agent

import (
	"slices"

	"weir/policy"
	"weir/userspace/store"
)

// The ledger knows what stands; the samples of its evidence are in the store, or
// with the writer on their way there.

// sample returns the sample of the evidence for d, nil if there is none. Any
// goroutine may call it.
func (w *writer) sample(d *policy.Decision) ([]policy.Observation, error) {
	if d.Evidence.Count == 0 {
		return nil, nil
	}
	key := store.KeyOf(d)
	w.mu.Lock()
	s := w.store
	for _, unwritten := range []map[store.Key]*policy.Decision{w.pending, w.writing} {
		if stored := unwritten[key]; stored != nil && stored.Since.Equal(d.Since) {
			w.mu.Unlock()
			return stored.Evidence.Sample, nil
		}
	}
	w.mu.Unlock()
	since, sample, err := s.Sample(key)
	if err != nil || !since.Equal(d.Since) {
		return nil, err
	}
	return sample, nil
}

// naming returns what the store or the writer holds on sources with a sample
// that names user: at most n of them. Any goroutine may call it.
func (w *writer) naming(user string, n int) (found []policy.Decision, err error) {
	unwritten := make(map[store.Key]*policy.Decision)
	w.mu.Lock()
	s := w.store
	for _, some := range []map[store.Key]*policy.Decision{w.writing, w.pending} {
		for key, d := range some {
			if key.User == "" && (d == nil || d.Evidence.Names(user)) {
				unwritten[key] = d
			}
		}
	}
	w.mu.Unlock()
	for _, d := range unwritten {
		if d != nil {
			found = append(found, *d)
		}
	}
	for d, err := range s.Naming(user) {
		if err != nil {
			return found, err
		}
		if len(found) >= n {
			break
		}
		if _, newer := unwritten[store.KeyOf(&d)]; !newer && d.User == "" {
			found = append(found, d)
		}
	}
	found = found[:min(len(found), n)]
	slices.SortFunc(found, func(a, b policy.Decision) int { return a.Prefix.Compare(b.Prefix) })
	return found, nil
}
