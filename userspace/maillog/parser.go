package maillog

import (
	"bytes"
	"net/netip"
	"time"

	"weir/policy"
)

// Options say how stamps without a year or a zone are to be read.
type Options struct {
	// Location is the zone of stamps that carry none. Nil is UTC.
	Location *time.Location

	// Reference is the newest time that the first line can have; it gives
	// traditional syslog stamps their year. After that the year follows the
	// lines. Zero is the time at which the parser is made.
	Reference time.Time
}

// DefaultOptions reads stamps in the local zone, as syslog daemons write them.
func DefaultOptions() Options { return Options{Location: time.Local} }

// Parser reads the log of one host or one log server. It is not safe for
// concurrent use.
type Parser struct {
	scanner  Scanner
	clock    clock
	users    interner
	queue    table[queued]  // messages in Postfix's queue, by queue ID
	sessions table[session] // SMTP sessions, by process
	told     ledger         // login failures already told, for each source
	several  table[bool]    // hosts whose Dovecot asks several databases
	relayed  relays         // sessions that Dovecot proxies and the servers behind tell of
	names    []string       // users of one line's events
	eximLog  eximState
	judged   table[bool]             // messages judged bad, by queue ID
	heads    table[amavisHead]       // entries that go on in the next line, by task
	pending  table[sendmailEnvelope] // what Sendmail's sessions fill, by ID
	web      webState
	sasl     table[saslNote] // refusals of saslauthd, by host
	courier  courierState

	requested    table[request] // that were not logged yet
	asked        bool           // requests are expected
	askedUnknown bool           // and tell of unknown recipients

	// Dovecot writes elements behind rip= that its default format lacks.
	extraElements bool

	counts counts
}

// Bounds of the parser's memory, in entries. A busy host has a few hundred
// sessions and messages under way; a log server that gathers many hosts, some
// thousands. All tables full, and all their strings as long as they can be,
// a parser takes up less than maxBytes.
const (
	maxQueued     = 1 << 15 // messages of Postfix
	maxSessions   = 1 << 14
	maxTold       = 1 << 13 // login failures
	maxHosts      = 1 << 10
	maxAccepted   = 1 << 13 // messages of Exim; of Courier
	maxRecipients = 1 << 15 // theirs
	maxEximCopies = 1 << 10
	maxJudged     = 1 << 12 // messages that a content filter thinks bad
	maxHeads      = 1 << 8  // lines of amavis that go on; a process has one at most
	maxEnvelopes  = 1 << 13 // of Sendmail
	maxWeb        = 1 << 12 // clients of Roundcube; processes of SOGo; sessions of Stalwart
	maxRequested  = 1 << 15 // messages and logins that were asked about
	maxUsers      = 1 << 17 // names, a power of two

	maxBytes = 64 << 20

	maxUserLen = 255 // bytes; RFC 5321 section 4.5.3.1 allows 64 + 1 + 255
	maxRepeat  = 20  // events of one line
)

// NewParser returns a parser that has read nothing yet.
func NewParser(o Options) *Parser {
	if o.Location == nil {
		o.Location = time.UTC
	}
	if o.Reference.IsZero() {
		o.Reference = time.Now()
	}
	p := newParser()
	p.clock.location, p.clock.reference = o.Location, o.Reference.Unix()
	return p
}

func newParser() *Parser {
	return &Parser{
		users:    newInterner(maxUsers),
		queue:    newTable[queued](maxQueued),
		sessions: newTable[session](maxSessions),
		told:     newLedger(maxTold),
		several:  newTable[bool](maxHosts),
		eximLog:  newEximState(),
		judged:   newTable[bool](maxJudged),
		heads:    newTable[amavisHead](maxHeads),
		pending:  newTable[sendmailEnvelope](maxEnvelopes),
		web:      newWebState(),
		sasl:     newTable[saslNote](maxHosts),
		courier:  newCourierState(),

		requested: newTable[request](maxRequested),
	}
}

// record is one line, its parts still where the log has them.
type record struct {
	stamp   []byte    // the time as it was written; nil if time is known
	time    time.Time // valid once stamp is nil
	host    []byte    // empty in a journal and in a server's own log
	program []byte    // without the process ID
	pid     uint32    // 0 if unknown
	mainlog bool      // from a log that may be Exim's own: text begins behind the stamp
	text    []byte    // what the program said
	session []byte    // Dovecot's ID, once its reader has found one
	number  uint64
	dialect dialect // as header or program tell it
}

// Line reads a line of a log file, with its header, and appends the events
// that it tells of to out. The line may end in a newline. number counts the
// lines of the input from 1.
func (p *Parser) Line(line []byte, number uint64, out []policy.Event) []policy.Event {
	p.counts.lines++
	r := record{number: number}
	if !p.scanner.scan(line, &r) {
		return out
	}
	p.clock.follow(r.stamp)
	return p.read(&r, out)
}

// Message reads a record whose header has been taken off already, as journal
// and syslog inputs deliver it. host is empty where all records are of one
// host, and pid is 0 if it is unknown.
func (p *Parser) Message(t time.Time, host, program string, pid int, msg []byte, number uint64, out []policy.Event) []policy.Event {
	p.counts.lines++
	var name, of [64]byte
	r := record{time: t.UTC(), host: append(of[:0], host...), program: append(name[:0], program...), text: trimEnd(msg), number: number}
	if pid > 0 {
		r.pid = uint32(pid)
	}
	r.dialect = dialectOf(&r)
	return p.read(&r, out)
}

// read hands the text to its reader, as often as it is said to be repeated:
// rsyslog's $RepeatedMsgReduction writes "message repeated 3 times: [ TEXT]".
func (p *Parser) read(r *record, out []policy.Event) []policy.Event {
	if r.dialect == otherDialect || len(r.text) == 0 {
		return out
	}
	rest, repeated := skipWord(r.text, "message repeated ")
	if !repeated {
		return p.readText(r, out)
	}
	n, length := leadingUint(rest)
	rest, ok := skipWord(rest[length:], " times: [ ")
	r.text = trimEnd(bytes.TrimSuffix(rest, []byte("]")))
	if !ok || length == 0 || len(r.text) == 0 {
		return out
	}
	for range min(n, maxRepeat) {
		out = p.readText(r, out)
	}
	return out
}

// emit appends e, completed from the record.
func (p *Parser) emit(r *record, e policy.Event, out []policy.Event) []policy.Event {
	t, ok := p.when(r)
	if !ok {
		return out
	}
	e.Time, e.Line = t, r.number
	p.counts.events++
	return append(out, e)
}

// emitFailures appends a failure like e for each login attempt that a frontend
// tells of and nobody has told before.
func (p *Parser) emitFailures(r *record, e policy.Event, reach int64, attempts int, out []policy.Event) []policy.Event {
	t, ok := p.when(r)
	if !ok {
		return out
	}
	p.names = p.told.frontend(callerOf(r, e.Source), e.User, t, reach, attempts, p.names[:0])
	for i := len(p.names) - 1; i >= 0; i-- {
		e.User = p.names[i]
		out = p.emit(r, e, out)
	}
	return out
}

// emitSuccess appends the login e. If a database had refused it, the host's
// others are asked after it, and what one says decides nothing.
func (p *Parser) emitSuccess(r *record, e policy.Event, out []policy.Event) []policy.Event {
	t, ok := p.when(r)
	if ok && p.told.success(callerOf(r, e.Source), e.User, t) {
		p.several.put(hostKey(r), true)
	}
	if ok && (e.Server == postfixServer || e.Server == eximServer) && p.loginWasRequested(t.Unix(), e.Source, e.User) {
		return out
	}
	return p.emit(r, e, out)
}

// callerOf returns addr as the record's session sees it.
func callerOf(r *record, addr netip.Addr) caller {
	c := caller{addr: addr}
	if len(r.host) > 0 {
		c.host = hostKey(r)
	}
	if len(r.session) > 0 {
		c.session = uint64(newHash.bytes(r.session))
	}
	return c
}

// when returns the time of r, and whether its stamp can be read.
func (p *Parser) when(r *record) (time.Time, bool) {
	if r.stamp == nil {
		return r.time, !r.time.IsZero()
	}
	t, ok := p.clock.parse(r.stamp)
	if ok {
		r.time, r.stamp = t, nil
	}
	return t, ok
}
