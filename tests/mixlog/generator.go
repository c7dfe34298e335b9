package mixlog

import (
	"fmt"
	"math"
	"slices"
	"time"

	"weir/policy"
)

// horizon is how many seconds ahead lines are known: no session lasts longer.
const horizon = 1024

// Microseconds in the generator's own time, which begins with the log.
const (
	millisecond = 1000
	second      = 1000 * millisecond
	minute      = 60 * second
)

// Generator writes a log, line by line.
//
// Whenever a second is reached, all sessions that begin in it are planned to
// their end: each line goes, already written, into the second that it belongs
// to. Then the second's lines are put in order. So nothing is ever sorted but
// the lines of a second, and nothing kept but what is under way.
type Generator struct {
	options  Options
	random   random
	people   people
	hosts    []*host
	byKind   [kindCount][]*host
	shares   []float64 // of kinds of hosts, cumulated
	weights  []float64 // of scenarios, cumulated
	ring     [horizon]bucket
	used     []bucket // empty, with memory
	zone     string   // of stamps
	start    int64    // Unix
	now      int64    // the second that is being given out, from the start
	due      float64
	order    []uint64 // of the lines of that second: microsecond and index
	given    int      // of these
	record   Record
	writing  line
	failures []string // of the visit that is being planned
	mails    []mail
	cast     *cast // nil: the generator makes up the sessions itself
}

// bucket is what belongs to one second.
type bucket struct {
	stamp  string
	text   []byte
	lines  []planned
	events []policy.Event
	origin []Origin // of events, in a script
	starts []start
}

// planned is a line that waits for its time. Its text ends where the next one
// of the bucket begins, its events likewise.
type planned struct {
	from, body, event uint32
	micro             uint32
	host              string
	program           string
	pid               uint32
}

// Record is one line of the log, and what it tells. It is valid until the
// next call of Next.
type Record struct {
	Number  uint64 // from 1
	Line    []byte // without a line end
	Time    time.Time
	Host    string
	Program string
	PID     int
	Text    []byte // Line behind its header
	Events  []policy.Event
	Origins []Origin // of Events, in the log of a script
}

// New returns a generator that has given nothing yet.
func New(o Options) (*Generator, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	weights, shares := o.Weights.list(), o.Servers.list()
	g := &Generator{
		options: o, random: random{o.Seed}, now: -1,
		weights: cumulate(weights[:]), shares: cumulate(shares[:]),
		start: o.Start.Unix(), zone: o.Start.Format("-07:00"),
	}
	g.people = newPeople(&g.random, o)
	g.hosts = newHosts()
	for _, h := range g.hosts {
		g.byKind[h.kind] = append(g.byKind[h.kind], h)
	}
	return g, nil
}

// Next goes on to the next line and reports whether there is one.
func (g *Generator) Next() bool {
	if g.record.Number == g.options.Lines {
		return false
	}
	for g.given == len(g.order) {
		if g.cast != nil && g.cast.done(g.now) {
			return false
		}
		g.advance()
	}
	b := g.bucket(g.now)
	i := int(uint32(g.order[g.given]))
	g.given++
	p := &b.lines[i]
	text, event := len(b.text), len(b.events)
	if i+1 < len(b.lines) {
		text, event = int(b.lines[i+1].from), int(b.lines[i+1].event)
	}
	r := &g.record
	r.Number++
	r.Line, r.Text = b.text[p.from:text], b.text[p.body:text]
	r.Host, r.Program, r.PID = p.host, p.program, int(p.pid)
	nano := int64(p.micro) * 1000
	if g.options.Traditional {
		nano = 0
	}
	r.Time = time.Unix(g.start+g.now, nano).UTC()
	r.Events = b.events[p.event:event]
	if g.cast != nil {
		r.Origins = b.origin[p.event:event]
	}
	for i := range r.Events {
		r.Events[i].Time, r.Events[i].Line = r.Time, r.Number
	}
	return true
}

// Record returns the line that Next went on to.
func (g *Generator) Record() *Record { return &g.record }

// bucket returns what belongs to a second. An empty one takes the memory of
// one that is done, the newest, which caches still hold.
func (g *Generator) bucket(second int64) *bucket {
	b := &g.ring[second%horizon]
	if n := len(g.used); n > 0 && b.text == nil && b.starts == nil {
		*b, g.used = g.used[n-1], g.used[:n-1]
	}
	return b
}

// advance goes on to the next second.
func (g *Generator) advance() {
	if g.now >= 0 {
		old := g.bucket(g.now)
		g.used = append(g.used, bucket{text: old.text[:0], lines: old.lines[:0], events: old.events[:0], origin: old.origin[:0], starts: old.starts[:0]})
		*old = bucket{}
	}
	g.now++
	b := g.bucket(g.now)
	for i := 0; i < len(b.starts); i++ { // a start may add another
		g.begin(b.starts[i])
	}
	if g.cast != nil {
		g.play()
	}
	for g.due += g.options.Rate * g.swell(); g.due >= 1; g.due-- {
		g.begin(start{scenario: scenario(g.random.weighted(g.weights)), at: g.now*second + int64(g.random.below(second))})
	}
	g.order, g.given = g.order[:0], 0
	for i := range b.lines {
		g.order = append(g.order, uint64(b.lines[i].micro)<<32|uint64(i))
	}
	slices.Sort(g.order)
}

// swell is the day's tide: three times as much at three in the afternoon as
// at three in the morning.
func (g *Generator) swell() float64 {
	_, offset := g.options.Start.Zone()
	hour := float64((g.start+g.now+int64(offset))%86400) / 3600
	return 1 - 0.5*math.Cos((hour-3)/24*2*math.Pi)
}

// later has a session begin at a time that lies within the horizon.
func (g *Generator) later(s start) {
	b := g.bucket(g.within(s.at) / second)
	b.starts = append(b.starts, s)
}

// within cuts a time that lies behind the horizon.
func (g *Generator) within(at int64) int64 { return min(at, (g.now+horizon)*second-1) }
