package maillog

import "weir/policy"

// Scanner finds the headers of a log file's lines, and dismisses the lines
// that no reader is for: most lines of a busy host. It knows nothing but the
// day of the line before, so that one goroutine can scan while another reads.
// The zero Scanner is ready to use.
type Scanner struct {
	day [6]byte // of the newest traditional stamp
}

// Scanned is a line whose header was found. It refers to the line's bytes.
type Scanned struct{ record record }

// Scan looks at a line as [Parser.Line] does, and reports whether the parser
// has to read it: with it goes the first line of each day, whoever wrote it,
// because the parser gives traditional stamps their year.
func (s *Scanner) Scan(line []byte, number uint64, to *Scanned) bool {
	to.record = record{number: number}
	return s.scan(line, &to.record)
}

func (s *Scanner) scan(line []byte, r *record) bool {
	if !splitHeader(line, r) {
		return false
	}
	r.dialect = dialectOf(r)
	if stamp := r.stamp; len(stamp) > 6 && stamp[3] == ' ' && [6]byte(stamp) != s.day {
		copy(s.day[:], stamp)
		return true
	}
	return r.dialect != otherDialect
}

// Read appends the events that a scanned line tells of to out. Lines must
// come in their order, and all that Scan wants read.
func (p *Parser) Read(s *Scanned, out []policy.Event) []policy.Event {
	p.clock.follow(s.record.stamp)
	return p.read(&s.record, out)
}

// Passed counts n lines that a Scanner has seen for this parser.
func (p *Parser) Passed(n uint64) { p.counts.lines += n }
