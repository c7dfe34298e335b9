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
	for i := 0; i < len(name); i++ {
		if 'A' <= name[i] && name[i] <= 'Z' {
			return string(appendFolded(nil, name))
		}
	}
	return name
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

func (t *nameTable) hash(folded []byte) uint32 { return uint32(maphash.Bytes(t.seed, folded)) }

// find returns the number of name, 0 if it has none, and its hash.
func (t *nameTable) find(name string) (n, hash uint32) {
	var room [maxNameLen]byte
	folded := appendFolded(room[:0], name[:min(len(name), maxNameLen)])
	hash = t.hash(folded)
	for at := hash; ; {
		if n := t.index.probe(hash, &at); n == 0 || t.slots.at(n).name == string(folded) {
			return n, hash
		}
	}
}

// refer returns the number of name and counts one more reference to it.
func (t *nameTable) refer(name string) uint32 {
	if name == "" {
		return 0
	}
	n, hash := t.find(name)
	if n == 0 {
		n = t.slots.take()
		folded := FoldUser(name[:min(len(name), maxNameLen)])
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
		t.index.remove(t.hash([]byte(s.name)), i)
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
