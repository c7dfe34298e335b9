package policy

// networkTable finds what is known of networks, in the order in which they were
// first heard of. None is ever taken out.
type networkTable struct {
	key   sourceKey
	index index
	all   pool[network]
	keep  func(i uint32) // as a clock's
}

type network struct {
	source Source // it begins with
	locals
}

func (t *networkTable) len() int { return t.all.used }

func (t *networkTable) number(source Source) (n, hash uint32) {
	hash = t.key.hash(source)
	for at := hash; ; {
		if n = t.index.probe(hash, &at); n == 0 || t.all.at(n).source == source {
			return n, hash
		}
	}
}

// find returns what is known of a network, to be read; nil if nothing is.
func (t *networkTable) find(source Source) *locals {
	if n, _ := t.number(source); n != 0 {
		return &t.all.at(n).locals
	}
	return nil
}

// enter returns what is known of a network, to be changed.
func (t *networkTable) enter(source Source) *locals {
	n, hash := t.number(source)
	if n == 0 {
		n = t.all.take()
		t.all.at(n).source = source
		t.index.put(hash, n)
	} else if t.keep != nil {
		t.keep(n)
	}
	return &t.all.at(n).locals
}
