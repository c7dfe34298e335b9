package lists

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/policy"
)

// List is a list as the configuration describes it.
type List struct {
	Name   string
	Path   string
	Action policy.Action // drop, tarpit or limit
	Rate   policy.Rate   // of limit
}

// Content is a list and what its file holds.
type Content struct {
	List
	Rows  []Row
	Since time.Time // when it was read
}

// Merge makes decisions of the contents of all lists, sorted by prefix. Of
// several lines that name a prefix the harshest counts, and of those that are
// as harsh the first. The rule of each decision is the list's name, and its
// reason names file and line.
func Merge(all []Content) []policy.Decision {
	type ranked struct {
		row  *Row
		list int
	}
	total := 0
	for i := range all {
		total += len(all[i].Rows)
	}
	rows := make([]ranked, 0, total)
	for i := range all {
		for j := range all[i].Rows {
			rows = append(rows, ranked{&all[i].Rows[j], i})
		}
	}
	slices.SortFunc(rows, func(a, b ranked) int {
		// Actions on sources are numbered from mild to harsh.
		return cmp.Or(compare(a.row.Prefix, b.row.Prefix), cmp.Compare(all[b.list].Action, all[a.list].Action),
			cmp.Compare(a.list, b.list), cmp.Compare(a.row.Line, b.row.Line))
	})
	rows = slices.CompactFunc(rows, func(a, b ranked) bool { return a.row.Prefix == b.row.Prefix })
	out := make([]policy.Decision, len(rows))
	reasons := newReasons(len(rows))
	for i, r := range rows {
		list := &all[r.list]
		out[i] = policy.Decision{
			Target: policy.Target{Prefix: r.row.Prefix}, Action: list.Action, Listed: true, Rate: list.Rate,
			Since: list.Since, Rule: list.Name, Reason: reasons.write(list.Path, r.row.Line, r.row.Note),
		}
	}
	return out
}

// compare orders as netip.Prefix.Compare, which would mask what is masked.
func compare(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// reasons writes many short texts into few pieces of memory.
type reasons struct{ b strings.Builder }

const reasonsPiece = 1 << 20

func newReasons(n int) *reasons {
	r := &reasons{}
	r.b.Grow(min(n*64, reasonsPiece))
	return r
}

func (r *reasons) write(path string, line int, note string) string {
	if r.b.Cap()-r.b.Len() < len(path)+len(note)+24 {
		r.b = strings.Builder{}
		r.b.Grow(max(reasonsPiece, len(path)+len(note)+24))
	}
	from := r.b.Len()
	r.b.WriteString(path)
	r.b.WriteByte(':')
	r.b.WriteString(strconv.Itoa(line))
	if note != "" {
		r.b.WriteString(": ")
		r.b.WriteString(note)
	}
	return r.b.String()[from:]
}

// Diff returns what has to be entered and what has to be taken away to get
// from before to after, both as Merge returns them. What is only read anew is
// neither. What it returns must not be changed.
func Diff(before, after []policy.Decision) (put []policy.Decision, gone []netip.Prefix) {
	if len(before) == 0 {
		return after, nil // there may be a million: not once more
	}
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		order := 0
		switch {
		case i == len(before):
			order = 1
		case j == len(after):
			order = -1
		default:
			order = compare(before[i].Prefix, after[j].Prefix)
		}
		switch {
		case order < 0:
			gone = append(gone, before[i].Prefix)
			i++
		case order > 0:
			put = append(put, after[j])
			j++
		default:
			if !same(&before[i], &after[j]) {
				put = append(put, after[j])
			}
			i, j = i+1, j+1
		}
	}
	return put, gone
}

func same(a, b *policy.Decision) bool {
	return a.Action == b.Action && a.Rate == b.Rate && a.Rule == b.Rule && a.Reason == b.Reason
}
