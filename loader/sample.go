package loader

import (
	"fmt"
	"net/netip"
)

// Sample returns up to n entries of sources that are dropped or allowed, not
// all of them different, and the next thousand prefixes of each family, so that
// all of these come up in turn; reserved sources are left out. pick chooses a
// number from 0 to below its argument. It looks at a few places of the verdict
// tables for each source, whatever their size, so a table that is almost empty
// gives less.
func (d *Datapath) Sample(n int, pick func(int) int) ([]Entry, error) {
	sample, strays, err := d.sample(n, pick)
	if len(strays) > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.differs(fmt.Sprintf("a table of prefixes held %s, which is a source and nobody's decision", strays[0]), err == nil)
	}
	return sample, err
}

func (d *Datapath) sample(n int, pick func(int) int) (sample []Entry, strays []netip.Prefix, err error) {
	t := d.tables
	t.mu.Lock()
	defer t.mu.Unlock()
	at, err := t.now()
	if err != nil {
		return nil, nil, err
	}
	sample, strays, err = d.walks.next(&d.objects.datapathMaps, walkRows, at)
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
	return sample, strays, err
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
