package loader

// name is what the set knows of a source.
type name struct {
	home int
	mark uint64 // 0: it cannot have one
}

// markForm is the form of one family's marks: how many bits one has, and which of
// them are a hash's. Above those are two for its home.
type markForm struct {
	width, rest uint
	homes       int
}

const (
	homePlaces  = 4 // of a home
	homes       = 4 // HOMES, of a group
	groupPlaces = homePlaces * homes
	wordGroups  = 64 // of a word of unmarked
)

// homesFor is how many homes capacity sources need, with a sixth of the places to
// spare, and no fewer than least: of random ones four in a hundred then find
// their group full.
func homesFor(capacity, least int) int {
	return homes * max(least/homes, (6*capacity+5*groupPlaces-1)/(5*groupPlaces))
}

// markForm4 is the form of the set for capacity addresses: MARK_REST4 bits tell
// those of a home apart, if there are enough homes.
func markForm4(capacity int) markForm {
	const rest = 14 // MARK_REST4
	return markForm{width: 16, rest: rest, homes: homesFor(capacity, 1<<(32-rest))}
}

// markForm6 is that for capacity /64s.
func markForm6(capacity int) markForm {
	const rest = 30 // MARK_REST6
	return markForm{width: 32, rest: rest, homes: homesFor(capacity, 4*homes)}
}

// bits are those of one mark.
func (f markForm) bits() uint64 { return 1<<f.width - 1 }

// each is the lowest bit of each mark of a word.
func (f markForm) each() uint64 {
	if f.width == 16 {
		return 0x0001000100010001
	}
	return 0x0000000100000001
}

// words is how many words the homes take.
func (f markForm) words() int { return f.homes * homePlaces * int(f.width) / 64 }

// unmarked is how many words take a bit for each group.
func (f markForm) unmarked() int { return (f.homes/homes + wordGroups - 1) / wordGroups }

// homeOf returns where a mark of a group belongs.
func (f markForm) homeOf(group int, mark uint64) int {
	return group*homes + int(mark>>f.rest)
}

// zeros is not 0 if one of a word's marks is: the lowest bit that is set is then the
// uppermost of the first such mark.
func zeros(marks, each uint64, width uint) uint64 {
	return (marks - each) &^ marks & (each << (width - 1))
}
