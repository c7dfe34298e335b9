package mixlog

// scenario is a reason for a session, or for a run of them.
type scenario uint8

const (
	inbound scenario = iota
	screened
	submitting
	reading
	typo
	stale
	brute
	botnet
	rotating
	stolen
	harvest
	probe
	injection
	outage
	system

	scenarioCount
)

// start is a session that is to begin, alone or as one of a run.
type start struct {
	at       int64
	scenario scenario
	left     uint16 // sessions of the run that follow
	host     *host  // of the run; nil: not chosen yet
	who      uint32 // the run's source or user, as the scenario numbers them
}

// begin plans a session.
func (g *Generator) begin(s start) {
	if s.host == nil {
		s.host = g.host()
	}
	switch s.scenario {
	case inbound:
		g.inbound(s)
	case screened:
		g.screened(s)
	case submitting:
		g.submitting(s)
	case reading:
		g.reading(s)
	case typo:
		g.typo(s)
	case stale:
		g.stale(s)
	case brute:
		g.brute(s)
	case botnet:
		g.botnet(s)
	case rotating:
		g.rotating(s)
	case stolen:
		g.stolen(s)
	case harvest:
		g.harvest(s)
	case probe:
		g.probe(s)
	case injection:
		g.injection(s)
	case outage:
		s.host.authDown = max(s.host.authDown, s.at+g.think(20*second, 90*second))
	case system:
		g.system(s)
	}
}

// again begins the run's next session, unless this one was the last.
func (g *Generator) again(s start, after int64) {
	if s.left == 0 {
		return
	}
	s.left--
	s.at += after
	g.later(s)
}
