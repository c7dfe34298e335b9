package store

import (
	"bytes"
	"fmt"
	"iter"
	"time"

	bolt "go.etcd.io/bbolt"

	"weir/policy"
)

// The samples of a million decisions are most of what a store holds, and are
// asked for one at a time: whoever reads all decisions gets them without.

// Decisions yields every stored decision without the sample of its evidence,
// the automatic ones first. An error is yielded once and ends the sequence.
func (s *Store) Decisions() iter.Seq2[policy.Decision, error] {
	return func(yield func(policy.Decision, error) bool) {
		err := s.records(func(_ *decoder, _ []byte, d *policy.Decision) (bool, error) { return yield(*d, nil), nil })
		if err != nil {
			yield(policy.Decision{}, err)
		}
	}
}

// Sample returns the sample of the evidence for what is stored under k, and
// since when that stands. Where nothing is stored there is no sample.
func (s *Store) Sample(k Key) (since time.Time, sample []policy.Observation, err error) {
	key, err := appendKey(nil, k.Target)
	if err != nil {
		return since, nil, err
	}
	err = s.guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			sealed := tx.Bucket([]byte(k.bucket().String())).Get(key)
			if sealed == nil {
				return nil
			}
			dec := newDecoder()
			var d policy.Decision
			err := dec.sealed(&d, k.bucket(), key, sealed)
			if err == nil {
				since = d.Since
				sample, err = dec.rest()
			}
			if err != nil {
				return s.damaged(k.bucket(), key, err)
			}
			return nil
		})
	})
	if err != nil {
		return since, nil, fmt.Errorf("read store %s: %w", s.path, err)
	}
	return since, sample, nil
}

// Naming yields what is stored with a sample that names user, with it. An error
// is yielded once and ends the sequence.
func (s *Store) Naming(user string) iter.Seq2[policy.Decision, error] {
	return func(yield func(policy.Decision, error) bool) {
		err := s.records(func(dec *decoder, value []byte, d *policy.Decision) (more bool, err error) {
			if !bytes.Contains(value, []byte(user)) {
				return true, nil
			}
			if d.Evidence.Sample, err = dec.rest(); err != nil || !d.Evidence.Names(user) {
				return true, err
			}
			return yield(*d, nil), nil
		})
		if err != nil {
			yield(policy.Decision{}, err)
		}
	}
}

// records visits every stored decision, the automatic ones first, until visit
// returns false. The decoder has read the decision, and not yet the sample.
func (s *Store) records(visit func(dec *decoder, value []byte, d *policy.Decision) (more bool, err error)) error {
	var caller any // a panic of visit is the caller's own
	err := s.guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			dec := newDecoder()
			var d policy.Decision
			for _, id := range []bucketID{bucketAutomatic, bucketPins} {
				c := tx.Bucket([]byte(id.String())).Cursor()
				for k, v := c.First(); k != nil; k, v = c.Next() {
					more := true
					err := dec.sealed(&d, id, k, v)
					if err == nil {
						more = protect(&caller, func() (more bool) {
							more, err = visit(dec, v, &d)
							return more
						})
					}
					if err != nil {
						return s.damaged(id, k, err)
					}
					if !more {
						return nil
					}
				}
			}
			return nil
		})
	})
	if caller != nil {
		panic(caller)
	}
	if err != nil {
		return fmt.Errorf("read store %s: %w", s.path, err)
	}
	return nil
}

// damaged notes that a record cannot be read, so that the store is salvaged.
func (s *Store) damaged(id bucketID, key []byte, err error) error {
	s.broken.Store(true)
	return fmt.Errorf("%w: %v: record %q: %w", ErrDamaged, id, printable(key), err)
}

// protect keeps a panic of f for later and reports false then.
func protect(caught *any, f func() bool) (ok bool) {
	defer func() {
		if cause := recover(); cause != nil {
			*caught, ok = cause, false
		}
	}()
	return f()
}

// Checkpoint returns what was stored last, nil if nothing was.
func (s *Store) Checkpoint() ([]byte, error) {
	var out []byte
	err := s.guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket([]byte(bucketCheckpoint.String())).Cursor()
			for k, v := c.First(); k != nil && !bytes.Equal(k, keyCounts); k, v = c.Next() {
				chunk, _, err := unseal(bucketCheckpoint, k, v)
				if err != nil {
					return fmt.Errorf("checkpoint: %w", err)
				}
				out = append(out, chunk...)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read store %s: %w", s.path, err)
	}
	return out, nil
}
