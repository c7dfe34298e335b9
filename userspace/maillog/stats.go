package maillog

import "strings"

// Stats tell how well the log is understood.
type Stats struct {
	Lines         uint64 // read, of any program
	Events        uint64 // that they told of
	NotUnderstood uint64 // lines of a known server that name a client in an unknown way
	Sample        string // the newest of those, cut to 512 bytes; see HideSecrets
	Patterns      []PatternStats
}

// PatternStats tells how often a pattern was found.
type PatternStats struct {
	Name  string
	Lines uint64
}

// counts are the numbers behind Stats. The sample is kept in place, so that
// a log full of unknown lines allocates nothing.
type counts struct {
	lines, events, notUnderstood uint64
	patterns                     [patternCount]uint64
	sample                       [512]byte
	sampleLen                    int
}

// Stats returns the counts since the parser was made.
func (p *Parser) Stats() Stats {
	s := Stats{
		Lines:         p.counts.lines,
		Events:        p.counts.events,
		NotUnderstood: p.counts.notUnderstood,
		Sample:        strings.ToValidUTF8(string(p.counts.sample[:p.counts.sampleLen]), "?"),
	}
	for k := range patternCount {
		s.Patterns = append(s.Patterns, PatternStats{k.String(), p.counts.patterns[k]})
	}
	return s
}

// NotUnderstood returns Stats().NotUnderstood alone.
func (p *Parser) NotUnderstood() uint64 { return p.counts.notUnderstood }

// found counts a line that pattern k has read.
func (p *Parser) found(k pattern) { p.counts.patterns[k]++ }

// puzzled counts a line that names a client and that no pattern knows.
func (p *Parser) puzzled(r *record) {
	p.counts.notUnderstood++
	n := copy(p.counts.sample[:], r.program)
	if n > 0 { // not of a server's own log
		n += copy(p.counts.sample[n:], ": ")
	}
	p.counts.sampleLen = n + copy(p.counts.sample[n:], r.text)
}
