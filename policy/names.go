package policy

import "hash/maphash"

// maxNameLen bounds a user name: the longest mailbox that SMTP can carry
// (RFC 5321 section 4.5.3.1: 64 octets, "@" and 255 octets). What is longer
// was made up by an attacker and is judged by its beginning.
const maxNameLen = 320

// nameTable gives user names small numbers, so that windows hold no pointers
// and compare names exactly. A name stays as long as something refers to it,
// hence the table is bounded by what refers. Number 0 is the unknown user.
type nameTable struct {
	index index
	slots pool[nameSlot]
	seed  maphash.Seed // drawn by chance; nothing that comes out depends on it
}

type nameSlot struct {
	name string
	refs uint32
	user uint32 // number of the user of that name, 0 for none; it holds a reference
	face uint32 // a hash of it that is the same in every engine
}

// FoldUser returns name as users are told apart: without regard to the case
// of ASCII letters. Mail servers compare login names so (Dovecot's
// auth_username_format is %Lu), but log them as the client wrote them; a
// thief must not get a quota for each spelling. It allocates only if name has
// a capital.
func FoldUser(name string) string {
	if hasCapital(name) {
		return string(appendFolded(nil, name))
	}
	return name
}

func hasCapital(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i]-'A' < 26 {
			return true
		}
	}
	return false
}

func appendFolded(b []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// face hashes a name (FNV-1a).
func face(name string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}

// hash returns the hash of a name as it is folded.
func (t *nameTable) hash(name string) uint32 {
	if !hasCapital(name) {
		return uint32(maphash.String(t.seed, name))
	}
	var room [maxNameLen]byte
	return uint32(maphash.Bytes(t.seed, appendFolded(room[:0], name)))
}

// isFolded reports whether folded is name folded.
func isFolded(folded, name string) bool {
	if folded == name {
		return true
	}
	if len(folded) != len(name) || !hasCapital(name) {
		return false
	}
	var room [maxNameLen]byte
	return folded == string(appendFolded(room[:0], name))
}

// bounded cuts a name to what is judged of it.
func bounded(name string) string { return name[:min(len(name), maxNameLen)] }

// find returns the number of a bounded name, 0 if it has none, and its hash.
func (t *nameTable) find(name string) (n, hash uint32) {
	hash = t.hash(name)
	for at := hash; ; {
		if n := t.index.probe(hash, &at); n == 0 || isFolded(t.slots.at(n).name, name) {
			return n, hash
		}
	}
}

// refer returns the number of name and counts one more reference to it.
func (t *nameTable) refer(name string) uint32 {
	if name == "" {
		return 0
	}
	name = bounded(name)
	n, hash := t.find(name)
	if n == 0 {
		n = t.slots.take()
		folded := FoldUser(name)
		*t.slots.at(n) = nameSlot{name: folded, face: face(folded)}
		t.index.put(hash, n)
	}
	t.slots.at(n).refs++
	return n
}

// again counts one more reference to the name with number i.
func (t *nameTable) again(i uint32) {
	if i != 0 {
		t.slots.at(i).refs++
	}
}

// release takes one reference away.
func (t *nameTable) release(i uint32) {
	if i == 0 {
		return
	}
	s := t.slots.at(i)
	if s.refs--; s.refs == 0 {
		t.index.remove(t.hash(s.name), i)
		t.slots.give(i)
	}
}

func (t *nameTable) name(i uint32) string {
	if i == 0 {
		return ""
	}
	return t.slots.at(i).name
}

// labelTable numbers the few words that servers and services are called by.
// Words beyond 255 are not kept: evidence then lacks the word, nothing else.
type labelTable struct{ words []string }

func (t *labelTable) number(word string) uint8 {
	if word == "" {
		return 0
	}
	for i, w := range t.words {
		if w == word {
			return uint8(i + 1)
		}
	}
	if len(t.words) == 255 {
		return 0
	}
	t.words = append(t.words, word[:min(len(word), maxNameLen)])
	return uint8(len(t.words))
}

func (t *labelTable) word(i uint8) string {
	if i == 0 {
		return ""
	}
	return t.words[i-1]
}
