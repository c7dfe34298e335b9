package loader

import "net/netip"

// Sample returns up to n entries of sources that are dropped or allowed, not
// all of them different; reserved ones are left out. pick chooses a number
// from 0 to below its argument. It looks at a few places of the verdict tables
// for each, whatever their size, so a table that is almost empty gives less.
func (d *Datapath) Sample(n int, pick func(int) int) ([]Entry, error) {
	t := d.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.now()
	if err != nil {
		return nil, err
	}
	var sample []Entry
	for i := range n {
		var p netip.Prefix
		var value datapathEntry
		var found bool
		if i%2 == 0 {
			var k datapathSource4
			k, value, found = t.sources4.any(pick)
			p = prefixOfSource4(k)
		} else {
			var k datapathSource6
			k, value, found = t.sources6.any(pick)
			p = prefixOfSource6(k)
		}
		if found && !Reserved(p) {
			sample = append(sample, fromKernel(p, &value, at))
		}
	}
	return sample, nil
}

// sampleBuckets is how many buckets are looked at for one row.
const sampleBuckets = 16

// any returns a row of the verdict table behind a place that is chosen, if
// there is one near.
func (s *sources[K]) any(pick func(int) int) (k K, value datapathEntry, found bool) {
	v := s.verdicts
	bucket := pick(int(v.buckets))
	for range sampleBuckets {
		for i := range v.shape.slots {
			if key, value, ok := v.read(bucket*v.shape.slots+i, s.bits); ok {
				return sourceOf[K](key), value, true
			}
		}
		bucket = (bucket + 1) % int(v.buckets)
	}
	return k, value, false
}
