package policy

// accounts is a bounded table of what parties have spent. Places are never
// given back but to another party.
type accounts[K comparable] struct {
	most int
	by   map[K]int32 // place in ring
	ring list[holder[K]]
	hand int // the place that is looked at next when one has to leave
}

type holder[K comparable] struct {
	key K
	quotaAccount
}

func newAccounts[K comparable](most int) accounts[K] {
	return accounts[K]{most: most, by: make(map[K]int32)}
}

// get returns the account of key, nil if it has none.
func (t *accounts[K]) get(key K) *quotaAccount {
	if i, found := t.by[key]; found {
		return &t.ring.at(int(i)).quotaAccount
	}
	return nil
}

// looks is how many are compared when one has to leave.
const looks = 32

// open returns the account of key, which is made if need be.
func (t *accounts[K]) open(key K, now int64) *quotaAccount {
	if a := t.get(key); a != nil {
		return a
	}
	i := t.ring.len()
	if i < t.most {
		t.ring.add(holder[K]{key: key})
	} else {
		i = t.leave(now)
		delete(t.by, t.ring.at(i).key)
		*t.ring.at(i) = holder[K]{key: key}
	}
	t.by[key] = int32(i)
	return &t.ring.at(i).quotaAccount
}

// leave returns the place of who goes: the one that has spent the least among
// some.
func (t *accounts[K]) leave(now int64) (least int) {
	fewest := ^uint64(0)
	for range min(looks, t.ring.len()) {
		i := t.hand
		t.hand = (t.hand + 1) % t.ring.len()
		if spent := t.ring.at(i).spent(now); spent < fewest {
			least, fewest = i, spent
		}
		if fewest == 0 {
			break
		}
	}
	return least
}

func (t *accounts[K]) clear() {
	*t = newAccounts[K](t.most)
}
