package intake

// names keeps one string for each program and unit, so that a record costs
// none. Whoever may write to the log can invent names, hence the bound.
type names map[string]string

const maxNames = 1024

func newNames() names { return make(names) }

// get returns b as a string.
func (n names) get(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	if len(n) >= maxNames {
		clear(n)
	}
	s := string(b)
	n[s] = s
	return s
}
